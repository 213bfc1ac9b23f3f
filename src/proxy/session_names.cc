#include "base/limits.h"
#include "proxy/session.h"

namespace epif::proxy {

net::Task<Result<std::vector<IpAddress>>> Worker::Session::resolve(admission::Conversation& talk, const Destination& host) {
  if (const auto* ip = std::get_if<IpAddress>(&host.host)) co_return std::vector{*ip};
  const RoutePtr route = flow_.route;
  Lookup lookup{{flow_.peer.ip, net::Clock::now() + std::chrono::milliseconds(limits::connect_deadline_ms)}};
  flow_.asking = &lookup.asking;
  co_await net::when_both(look_up(lookup, host, route), watch_client(talk, lookup));
  flow_.asking = nullptr;
  co_return std::move(lookup.found);
}

net::Task<void> Worker::Session::look_up(Lookup& lookup, const Destination& host, RoutePtr route) {
  auto found = co_await onward::addresses_of(worker_.loop_, worker_.shared_.resolver, host, *route, lookup.asking);
  lookup.found = std::move(found);
  lookup.over = true;
  client_->nudge_reader();
}

net::Task<void> Worker::Session::watch_client(admission::Conversation& talk, Lookup& lookup) const {
  while (!lookup.over) {
    // It has no deadline of its own: the question's end nudges.
    auto waited = co_await talk.wait_with_client(net::TimePoint::max(), limits::socks6_initial_data_max_bytes);
    if (waited || lookup.over) continue;
    // The end of its side may be all that it wanted to say: it may still read.
    if (waited.error().code == Code::truncated) lookup.asking.give_way();
    if (client_->has_failed()) lookup.asking.cancel(waited.error());
    co_return;  // or it has sent as much as is held for it
  }
}

}  // namespace epif::proxy
