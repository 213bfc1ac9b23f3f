#include "proxy/succession.h"

#include "base/log.h"
#include "proxy/team.h"

namespace epif::proxy {

Succession::~Succession() {
  if (predecessor_) predecessor_->abort({Code::internal, "the proxy has stopped"});
}

Result<std::vector<Listening>> Succession::inherit(const std::string& path) {
  auto inheritance = net::take_over(loop_, path);
  if (!inheritance) {
    auto error = std::move(inheritance.error());
    if (error.advice.empty()) error.advice = "--take-over wants a running proxy with the same --admin; without one, start without it";
    return fail(std::move(error));
  }
  predecessor_ = std::move(inheritance->predecessor);
  std::vector<Listening> sockets;
  for (auto& thing : inheritance->things) {
    auto one = parse_listening(thing.what);
    if (!one) return fail(std::move(one.error()));
    if (!thing.descriptor) return fail(Code::protocol, "a socket was lost on its way from the running proxy", path);
    one->socket = std::move(thing.descriptor);
    sockets.push_back(std::move(*one));
  }
  return sockets;
}

Result<> Succession::serve(Team& team, const std::string& routes) {
  if (!predecessor_) return {};
  const bool fits = routes.size() <= net::announced_max_bytes;
  if (!fits) log::warn("proxy", "the old process keeps following its own routes: the path is too long to be told", {{"file", routes}});
  auto consents = net::announce_and_wait(loop_, *predecessor_, fits ? routes : std::string());
  if (!consents) return consents;
  net::spawn(take_flows(*this, predecessor_, team));
  return {};
}

void Succession::dismiss_predecessor() {
  if (predecessor_) net::dismiss(*predecessor_);
}

net::Task<void> Succession::take_flows(Succession& self, std::shared_ptr<net::SeqPacket> predecessor, Team& team) {
  Unpacking unpacking;
  for (;;) {
    auto message = co_await net::receive_given(*predecessor);
    if (!message) {
      // Code::internal: this process ends, and with it `self`.
      if (message.error().code != Code::internal) self.predecessor_.reset();
      co_return;
    }
    Result<std::optional<MovedFlows>> moved = fail(Code::protocol, "a message was cut short");
    if (message->truncated) {  // descriptors are short, perhaps
      reset_all(message->descriptors);
      unpacking.spoil();
    } else {
      moved = unpacking.take(as_text(message->bytes), std::move(message->descriptors));
    }
    if (moved && *moved) {
      auto taken = team.take(std::move(**moved));
      if (!taken) moved = fail(std::move(taken.error()));
    }
    if (!moved) log::error("proxy", moved.error(), {{"lost", "flows on their way from the old process"}});
  }
}

void Succession::offer(Fd listener, const std::string& path, std::vector<Listening> sockets, Calls calls) {
  std::vector<net::Handed> things;
  for (auto& one : sockets) things.push_back({print_listening(one), std::move(one.socket)});
  net::Handover::Calls told;
  told.serving = std::move(calls.serving);
  told.abandoned = std::move(calls.abandoned);
  told.stopped = std::move(calls.dismissed);
  told.gone = std::move(calls.gone);
  handover_ = std::make_unique<net::Handover>(loop_, std::move(listener), path, std::move(things), std::move(told));
}

void Succession::close() {
  if (handover_) handover_->close();
}

void Succession::give(MovedFlows moved) {
  departing_.push_back(std::move(moved));
  if (!std::exchange(giving_, true)) net::spawn(give_all(*this));
}

net::Task<void> Succession::give_all(Succession& self) {
  while (!self.departing_.empty()) {
    auto parcels = pack(std::move(self.departing_.front()));
    self.departing_.pop_front();
    Result<> given;
    for (auto& parcel : parcels) {
      if (given) given = co_await self.handover_->give(std::move(parcel.text), parcel.descriptors);
      // What has arrived is the successor's; what has not ends here, with an error at both peers.
      if (!given) reset_all(parcel.descriptors);
    }
    if (!given) log::error("proxy", given.error(), {{"lost", "flows on their way to the new process"}});
  }
  self.giving_ = false;
}

}  // namespace epif::proxy
