#include "base/limits.h"
#include "base/log.h"
#include "onward/stack.h"
#include "proxy/session.h"

// A connection that becomes a trunk, or that goes on with a stream of one. Neither has a right to anything by that: each
// stream of a trunk makes its own request, and is decided on like a connection of the same client.
namespace epif::proxy {

using What = socks6::TrunkOption::What;

bool Worker::Session::is_for_trunks(const admission::ClientRequest& request) const {
  return request.command == socks::Command::noop && request.trunk && request.trunk->what != What::offer && worker_.shared_.trunking &&
         !on_trunk_ && !worker_.stopping_;
}

net::Task<Result<>> Worker::Session::serve_trunks(admission::Conversation& talk, const admission::ClientRequest& request, Listener kind, Dialect dialect) {
  Result<> served;
  if (request.trunk->what == What::open) {
    served = co_await become_trunk(talk, request, kind, dialect);
  } else {
    served = co_await join_stream(talk, request);
  }
  co_return served;
}

net::Task<Result<>> Worker::Session::become_trunk(admission::Conversation& talk, const admission::ClientRequest& request, Listener kind, Dialect dialect) {
  auto& all = worker_.shared_.trunks;
  auto token = all.add({&worker_.loop_, {}, flow_.identity, flow_.peer.ip});
  if (!token) co_return fail(std::move(token.error()));
  talk.consent({What::open, *token});
  const auto told = apply_stack(request, onward::probed_facts(request.stack, request.target.is_name()));
  auto served = co_await talk.answer(socks::Reply::success, {}, told);
  if (served && !flow_.cut_reason) co_await carry_trunk(*token, talk.take_early(), kind, dialect);
  all.remove(*token);
  co_return Result<>{};
}

net::Task<void> Worker::Session::carry_trunk(const TrunkToken& token, Bytes early, Listener kind, Dialect dialect) {
  net::Trunk::Settings settings;
  settings.idle = std::chrono::seconds(limits::warm_pool_idle_s * 2);
  settings.accept = [&worker = worker_, client = Worker::TrunkClient{flow_.peer, flow_.identity, certificate_end_, kind, dialect}](std::unique_ptr<net::Stream> stream) {
    worker.accepted_on_trunk(std::move(stream), client);
  };
  net::reset_on_close(client_->fd(), true);
  const auto trunk = net::Trunk::make(std::move(client_), std::move(settings));  // flow_.client is its carrier from here on
  worker_.shared_.trunks.set(token, trunk);
  worker_.trunks_.insert(trunk.get());
  flow_.stage = Flow::Stage::open;
  flow_.is_trunk = true;
  if (worker_.draining_) trunk->drain();
  auto ended = co_await trunk->run(std::move(early));
  flow_.client = nullptr;
  worker_.trunks_.erase(trunk.get());
  if (!ended) log::debug("proxy", "a trunk broke", {{"from", source()}, {"why", ended.error().text()}});
}

net::Task<Result<>> Worker::Session::join_stream(admission::Conversation& talk, const admission::ClientRequest& request) {
  const auto wish = *request.trunk;
  auto place = worker_.shared_.trunks.find(wish.token, flow_.identity, flow_.peer.ip);
  if (!place) co_return fail(std::move(place.error()));
  talk.consent({What::join});
  const auto told = apply_stack(request, onward::probed_facts(request.stack, request.target.is_name()));
  auto answered = co_await talk.answer(socks::Reply::success, {}, told);
  if (!answered || flow_.cut_reason) co_return Result<>{};
  flow_.client = nullptr;
  auto early = talk.take_early();
  // The trunk may be another thread's.
  auto moving = client_->leave_loop();
  client_.reset();
  place->loop->post([loop = place->loop, trunk = place->trunk, number = wish.stream, moving = std::move(moving), early = std::move(early)]() mutable {
    auto arrived = moving(*loop);
    if (const auto found = trunk.lock()) static_cast<void>(found->continue_on(number, std::move(arrived), std::move(early)));
  });
  co_return Result<>{};
}

}  // namespace epif::proxy
