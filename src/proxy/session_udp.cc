#include "association/association.h"
#include "base/log.h"
#include "onward/stack.h"
#include "proxy/session.h"

namespace epif::proxy {

net::Task<void> Worker::Session::associate(admission::Conversation& talk, const admission::ClientRequest& request) {
  const auto cut = [this](const Error& why) { flow_.cut(why); };
  association::Client client{*client_, flow_.peer, flow_.identity, flow_.to_server, flow_.to_client, cut};
  association::Association association(worker_.datagrams_, std::move(client), request);
  Result<> opened;
  if (request.chain) {
    opened = fail(Code::denied, "chain metadata of an association, which may follow many routes");
  } else {
    opened = association.open();
  }
  auto reply = opened ? socks::Reply::success : socks::reply_for(opened.error().code);
  if (opened && request.protocol == admission::Protocol::socks5 && client_->clear_socket() < 0) {
    reply = socks::Reply::command_not_supported;
    opened = fail(Code::unsupported, "SOCKS5 datagrams would leave TLS", {}, {}, "use SOCKS6 inside of the connection");
  }
  if (!opened) {
    refused(opened.error());
    auto answered = co_await talk.answer(reply, {}, apply_stack(request, onward::failure_facts(request.stack, false, false)));
    if (answered) co_await admission::close_after_answer(*client_);
    co_return;
  }
  auto answered = co_await talk.answer(reply, association.bound(), association.facts());
  if (!answered) {
    refused(answered.error());
    co_return;
  }
  flow_.stage = Flow::Stage::open;
  ++worker_.counters_.opened;
  auto early = talk.take_early();
  auto outcome = co_await association.run(std::move(early));
  if (outcome && !flow_.cut_reason) {
    net::reset_on_close(client_->fd(), false);
    co_return;
  }
  const auto& why = flow_.cut_reason ? *flow_.cut_reason : outcome.error();
  worker_.counters_.ended.add(why.code);
  if (why.code == Code::reset && !log::enabled(log::Level::debug)) co_return;
  log::warn("proxy", "association cut", {{"from", source()}, {"reason", std::string(epif::name(why.code))}, {"why", why.text()}});
}

}  // namespace epif::proxy
