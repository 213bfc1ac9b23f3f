#include "redirect/worker.h"

#include <fmt/format.h>

#include "base/log.h"
#include "redirect/capture.h"

namespace epif::redirect {
namespace {

std::chrono::sys_seconds wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

}  // namespace

void Flow::end_with(const Error& reason) {
  if (!cut) cut = reason;
  if (client_stream != nullptr) client_stream->abort(reason);
  if (proxy_stream != nullptr) proxy_stream->abort(reason);
  reaching.cancel(reason);
}

Worker::Worker(net::Loop& loop, const Settings& settings, std::shared_ptr<const Routes> routes)
    : loop_(loop), settings_(settings), tls_(settings.tls), routes_(std::move(routes)) {
  make_proxies();
  arm_expiry();
  datagrams_ = std::make_unique<Datagrams>(
      loop_, settings_, counts_, routes_, [this](const NextHop& hop) -> net::WarmPool& { return *proxy(hop).pool; },
      [this](const auto&... refusal) { note_refusal(refusal...); });
  dns_ = std::make_unique<Dns>(
      loop_, settings_, counts_, routes_, *datagrams_,
      [this](Fd connection, SocketAddress client) { accepted(std::move(connection), client); },
      [this](const auto&... refusal) { note_refusal(refusal...); });
}

void Worker::hear(Sockets sockets) {
  datagrams_->hear(std::move(sockets.datagrams));
  dns_->hear(std::move(sockets.dns_datagrams), std::move(sockets.dns_connections));
  for (auto& listener : sockets.connections) {
    acceptors_.push_back(std::make_unique<net::Acceptor>(
        loop_, std::move(listener), [this](Fd connection, SocketAddress client) { accepted(std::move(connection), client); }));
  }
}

// Coroutines of flows refer to this: the owner cuts them and lets the loop finish them first.
Worker::~Worker() { assert(flows_.empty()); }

Result<const Route*> Worker::find_route(Flow& flow, const Routes& routes) const {
  if (!flow.program && flow.of_this_node && routes.asks_who(Transport::tcp, flow.destination)) {
    auto owner = net::connection_owner(flow.client_socket, flow.client_sees);
    if (owner) flow.program = std::move(*owner);
  }
  return routes.find({flow.destination, Transport::tcp, flow.program ? &*flow.program : nullptr}, wall_now());
}

void Worker::accepted(Fd connection, SocketAddress client) {
  ++counts_.connections;
  net::spawn(serve(std::move(connection), client));
}

net::Task<void> Worker::serve(Fd connection, SocketAddress client) {
  const auto place = flows_.emplace(flows_.end());
  place->client = place->client_socket = client;
  auto outcome = co_await carry(*place, std::move(connection));
  note_end(*place, outcome);
  forwarded_ -= place->place ? 1 : 0;
  flows_.erase(place);
}

void Worker::note_end(const Flow& flow, const Result<>& outcome) {
  counts_.bytes_sent += flow.sent.bytes;
  counts_.bytes_received += flow.received.bytes;
  if (outcome) {
    ++counts_.completed;
    return;
  }
  // What was decided here explains more than the broken stream that follows from it.
  const auto& error = flow.cut ? *flow.cut : outcome.error();
  if (flow.relaying) {
    ++counts_.cut[error.code];
    if (flow.cut) {
      log::warn("redirect", "flow cut", {{"client", flow.client.text()}, {"destination", flow.destination.text()},
                                         {"reason", std::string(name(error.code))}, {"why", error.text()}});
    }
    return;
  }
  ++counts_.refused[error.code];
  note_refusal(flow.client, flow.destination, error, flow.of_this_node);
}

void Worker::note_refusal(const SocketAddress& client, const SocketAddress& destination, const Error& error, bool of_this_node) {
  const auto untold = error.code == Code::limit ? excess_.tell(of_this_node, loop_.now()) : 0;
  if (!untold) return;
  const auto before = *untold == 0 ? std::string() : fmt::format(" ({} more since the last line)", *untold);
  log::warn("redirect", "refused", {{"client", client.text()}, {"destination", destination.text()},
                                    {"reason", std::string(name(error.code))}, {"why", error.text() + before}});
  if (counts_.refusals.size() == limits::recent_refusals) counts_.refusals.pop_front();
  counts_.refusals.push_back({std::chrono::system_clock::now(), client, destination, error});
}

void Worker::make_proxies() {
  decltype(proxies_) kept;
  for (const auto& route : routes_->table().routes) {
    if (!route.next) continue;
    const std::pair key{route.next->proxy, route.next->identity};
    if (kept.contains(key)) continue;
    if (auto node = proxies_.extract(key)) {
      kept.insert(std::move(node));
      continue;
    }
    net::WarmPool::Settings wishes;
    wishes.to = key.first;
    wishes.identity = key.second;
    if (settings_.tls_always || !key.second.empty()) wishes.tls = tls_;
    // A proxy waits long only for those that showed a certificate; others it drops after its handshake deadline.
    if (!wishes.tls) wishes.idle = std::chrono::milliseconds(limits::handshake_deadline_ms / 2);
    wishes.connect.mark = settings_.mark;
    wishes.connect.fast_open = settings_.fast_open;
    wishes.connect.multipath = settings_.multipath;
    const bool in_clear = wishes.tls == nullptr;
    wishes.keep = handed_over_ ? 0 : settings_.kept_ready(in_clear);
    if (settings_.socks == 5) {
      const auto* user = settings_.user ? &*settings_.user : nullptr;
      wishes.prepare = [user](net::Stream& proxy, net::TimePoint deadline) { return socks5_authenticate(proxy, user, deadline); };
    }
    const bool certified = !in_clear && !wishes.identity.empty();
    auto& made = kept[key];
    made.pool = std::make_unique<net::WarmPool>(loop_, std::move(wishes));
    if (!settings_.uses_trunks(in_clear) || handed_over_) continue;
    made.trunks = std::make_unique<Trunks>(loop_, settings_, *made.pool, trunks_);
    if (certified) made.trunks->begin(settings_.kept_ready(in_clear) > 0);
  }
  proxies_ = std::move(kept);
}

Worker::Proxy& Worker::proxy(const NextHop& hop) {
  const auto found = proxies_.find({hop.proxy, hop.identity});
  assert(found != proxies_.end());
  return found->second;
}

void Worker::apply(std::shared_ptr<const Routes> routes) {
  routes_ = std::move(routes);
  check_again();
  make_proxies();
  for (auto& [key, one] : proxies_) {
    if (one.trunks) one.trunks->forget_answers();
  }
  dns_->apply(routes_);
  arm_expiry();
}

void Worker::renew(std::shared_ptr<net::TlsContext> tls) {
  tls_ = std::move(tls);
  std::erase_if(proxies_, [this](const auto& entry) { return settings_.tls_always || !entry.first.second.empty(); });
  make_proxies();
}

void Worker::check_again() {
  for (auto& flow : flows_) {
    if (flow.route == nullptr || flow.cut) continue;
    const auto now = find_route(flow, *routes_);
    if (!now) {
      auto reason = now.error();
      if (reason.code != Code::expired) reason.code = Code::revoked;
      flow.end_with(reason);
    } else if (!same_permit(*flow.route, **now)) {
      flow.end_with({Code::revoked, "the route changed", flow.destination.text(), flow.route->flow});
    } else {
      flow.routes = routes_;
      flow.route = *now;
    }
  }
  datagrams_->apply(routes_);
}

void Worker::arm_expiry() {
  expiry_.cancel();
  const auto next = routes_->next_expiry(wall_now());
  if (!next) return;
  const auto delay = std::chrono::ceil<std::chrono::milliseconds>(*next - std::chrono::system_clock::now());
  // At most an hour at once: the wall clock may be set meanwhile.
  expiry_ = loop_.after(std::clamp<std::chrono::milliseconds>(delay, std::chrono::milliseconds(1), std::chrono::hours(1)),
                        [this] {
                          check_again();
                          arm_expiry();
                        });
}

void Worker::renew_ready() {
  for (auto& [key, one] : proxies_) one.pool->renew();
}

void Worker::hand_over() {
  handed_over_ = true;
  acceptors_.clear();
  dns_->stop_hearing();
  datagrams_->stop_hearing();
  for (auto& [key, one] : proxies_) {
    one.pool->keep_none();
    if (one.trunks) one.trunks->hand_over();
  }
}

void Worker::cut_all(const Error& reason) {
  acceptors_.clear();
  dns_->end_all(reason);
  datagrams_->end_all(reason);
  for (auto& flow : flows_) flow.end_with(reason);
  for (auto& [key, one] : proxies_) {
    if (one.trunks) one.trunks->hand_over();
  }
  trunks_->abort(reason);
}

Stats Worker::stats(bool with_flows) const {
  auto stats = counts_;
  stats.active = flows_.size();
  stats.most = settings_.max_flows_per_thread();
  stats.warm = settings_.kept_ready(false);
  stats.first_bytes_wait_ms = settings_.first_bytes_wait_ms;
  for (const auto& flow : flows_) {
    stats.bytes_sent += flow.sent.bytes;
    stats.bytes_received += flow.received.bytes;
    if (!with_flows || flow.route == nullptr) continue;
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(net::Clock::now() - flow.since);
    stats.flows.push_back({flow.route->id, flow.route->flow, flow.client, flow.destination,
                           flow.route->next ? flow.route->next->proxy.text() : "", flow.sent.bytes, flow.received.bytes,
                           static_cast<std::uint64_t>(age.count()),
                           flow.proxy_stream != nullptr ? net::multipath_paths(flow.proxy_stream->fd()) : 0});
  }
  datagrams_->report(stats, with_flows);
  for (const auto& [key, one] : proxies_) {
    const auto& pool = one.pool;
    stats.pool_hits += pool->hits();
    stats.pool_misses += pool->misses();
    stats.pool_lost += pool->lost();
    stats.pool_failed += pool->failed();
    stats.pool_idle += pool->idle();
    stats.tls_handshakes += pool->handshakes();
    stats.tls_resumed += pool->resumed();
    if (!one.trunks) continue;
    stats.trunks += one.trunks->standing();
    stats.trunk_flows += one.trunks->flows();
    stats.trunk_moved += one.trunks->moved();
  }
  for (const auto& acceptor : acceptors_) stats.accept_pauses += acceptor->backed_off();
  return stats;
}

}  // namespace epif::redirect
