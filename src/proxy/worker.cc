#include "proxy/worker.h"

#include "base/limits.h"
#include "base/log.h"
#include "proxy/session.h"

namespace epif::proxy {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view stage_names[] = {"handshake", "deciding", "open"};

std::chrono::sys_seconds wall_clock() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

/// How long to wait for a wall clock's time. Wall clocks jump: at most a minute, then one looks again.
milliseconds until(std::chrono::sys_seconds end) {
  const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::system_clock::now());
  return std::clamp(left + milliseconds(1), milliseconds(1), milliseconds(60'000));
}

constexpr std::string_view next_key = "next ";
std::string key_of(const NextHop& next) { return std::string(next_key) + next.proxy.text() + " " + next.identity; }
std::string key_of(const SocketAddress& server) { return "server " + server.text(); }

}  // namespace

Worker::Worker(net::Loop& loop, Shared& shared, Certified certified, std::shared_ptr<const Routing> routing)
    : loop_(loop),
      shared_(shared),
      certified_(std::move(certified)),
      routing_(std::move(routing)),
      open_route_(open_route()),
      controls_(loop),
      datagrams_(loop,
                 {shared.limiter, shared.associations, shared.next_associations, shared.reservations, shared.resolver, shared.name_servers},
                 *this) {
  adopt(routing_);
}

Worker::~Worker() { assert(flows_.empty() && "cut_all and let the loop run before"); }

void Worker::listen(Fd listener, Listener kind, Dialect dialect) {
  if (draining_) return;  // a successor has come, or the end, before this one served
  acceptors_.push_back(std::make_unique<net::Acceptor>(
      loop_, std::move(listener),
      [this, kind, dialect](Fd connection, SocketAddress peer) { accepted(std::move(connection), peer, kind, dialect); }));
}

void Worker::listen_datagrams(Fd socket, std::uint16_t index, std::uint16_t sharing) {
  datagrams_.listen(std::move(socket), index, sharing);
}

void Worker::accepted(Fd connection, SocketAddress peer, Listener kind, Dialect dialect) {
  ++(kind == Listener::tls ? counters_.accepted_tls : counters_.accepted_clear);
  auto place = shared_.limiter.enter(peer.ip);
  if (place) {
    net::spawn(serve(std::move(connection), peer, kind, dialect, std::move(*place)));
  } else {
    net::spawn(refuse(std::move(connection), peer, kind, dialect, std::move(place.error())));
  }
}

net::Task<void> Worker::serve(Fd connection, SocketAddress peer, Listener kind, Dialect dialect, net::Limiter::Place place) {
  Session session(*this, peer, std::move(place));
  co_await session.run(std::move(connection), kind, dialect);
}

net::Task<void> Worker::refuse(Fd connection, SocketAddress peer, Listener kind, Dialect dialect, Error why) {
  counters_.refused.add(why.code);
  if (counters_.refused.of(why.code) % 1000 == 1) log::error("proxy", why, {{"peer", peer.text()}});
  if (kind == Listener::tls || refusing_ >= limits::refusals_waiting) {
    net::reset_socket(connection.get());
    co_return;
  }
  co_await refuse_stream(std::make_unique<net::SocketStream>(loop_, std::move(connection)), dialect);
}

net::Task<void> Worker::refuse_stream(std::unique_ptr<net::Stream> client, Dialect dialect) {
  ++refusing_;
  admission::Admission nobody;
  nobody.dialect = dialect;
  admission::Conversation talk(*client, std::move(nobody));
  auto told = co_await talk.refuse_unread(milliseconds(limits::refusal_patience_ms));
  if (told) {
    co_await admission::close_after_answer(*client);
  } else {
    client->abort(std::move(told.error()));  // whoever was told nothing must not take it for a proper end
  }
  --refusing_;
}

void Worker::accepted_on_trunk(std::unique_ptr<net::Stream> stream, TrunkClient client) {
  ++counters_.trunk_flows;
  Result<net::Limiter::Place> place;
  if (wall_clock() < client.certificate_end) {
    place = shared_.limiter.enter(client.peer.ip);
  } else {
    place = fail(Code::expired, "the client's certificate is past its end", client.identity, "its trunk began before");
  }
  if (place) {
    net::spawn(serve_on_trunk(std::move(stream), std::move(client), std::move(*place)));
    return;
  }
  counters_.refused.add(place.error().code);
  if (counters_.refused.of(place.error().code) % 1000 == 1) log::error("proxy", place.error(), {{"peer", client.peer.text()}});
  // Without an answer to wait for, it is reset where it goes out of scope.
  if (refusing_ < limits::refusals_waiting) net::spawn(refuse_stream(std::move(stream), client.dialect));
}

net::Task<void> Worker::serve_on_trunk(std::unique_ptr<net::Stream> stream, TrunkClient client, net::Limiter::Place place) {
  Session session(*this, client.peer, std::move(place));
  co_await session.run(std::move(stream), std::move(client.identity), client.kind, client.dialect);
}

void Worker::adopt(std::shared_ptr<const Routing> routing) {
  routing_ = std::move(routing);
  const auto now = wall_clock();
  // A cut may end a session here and now, which leaves the set: look at a copy.
  const std::vector<Flow*> before(flows_.begin(), flows_.end());
  for (auto* flow : before) {
    if (!flows_.contains(flow) || !flow->route || flow->route == open_route_) continue;
    const Asker asker{flow->identity, flow->peer.ip, {}};
    auto successor = flow->wish ? routing_->successor(*flow->route, asker, *flow->wish, now) : routing_->successor(*flow->route, now);
    if (successor) {
      flow->route = std::move(successor);
      follow_expiry(*flow);  // which may have come nearer
    } else {
      flow->cut({Code::revoked, "the flow lost its route", flow->route->id, {}, "see the route's policy"});
    }
  }
  datagrams_.adopt();
  counters_.fold_withdrawn([this](const std::string& id) { return id == open_route_->id || routing_->has(id); },
                           limits::withdrawn_route_counts);
  drop_unused_pools();
  fill_pools();
}

void Worker::renew(Certified certified) {
  certified_ = std::move(certified);
  for (auto* trunk : trunks_) trunk->drain();  // new flows are to see the new one
  std::erase_if(pools_, [](const auto& entry) { return entry.first.starts_with(next_key); });
  fill_pools();
}

void Worker::renew_ready() {
  for (auto& [key, pool] : pools_) {
    if (key.starts_with(next_key)) pool->renew();
  }
}

void Worker::fill_pools() {
  if (!certified_.client || stopping_) return;
  const auto now = wall_clock();
  for (const auto& route : routing_->table().routes) {
    if (route.next && !route.next->identity.empty() && grants(route, now)) static_cast<void>(pool_to(*route.next));
  }
}

void Worker::drop_unused_pools() {
  const auto now = wall_clock();
  std::set<std::string> used;
  auto first_end = std::chrono::sys_seconds::max();
  for (const auto& route : routing_->table().routes) {
    if ((!route.next && route.preconnect == 0) || !grants(route, now)) continue;
    if (route.next) used.insert(key_of(*route.next));
    if (route.preconnect > 0) used.insert(key_of(SocketAddress{route.destination.block.address, route.destination.ports.first}));
    if (route.expires != std::chrono::sys_seconds{}) first_end = std::min(first_end, route.expires);
  }
  std::erase_if(pools_, [&](const auto& entry) { return !used.contains(entry.first); });
  // A pool refills by itself: it must not outlive the last route that grants it.
  pools_end_ = {};
  if (first_end == std::chrono::sys_seconds::max()) return;
  pools_end_ = loop_.after(until(first_end), [this] {
    pools_end_ = {};
    drop_unused_pools();
  });
}

void Worker::follow_expiry(Flow& flow) {
  flow.expiry = {};
  const auto& expires = flow.route->expires;
  if (expires == std::chrono::sys_seconds{}) return;
  if (expires <= std::chrono::system_clock::now()) {
    flow.cut({Code::expired, "the route is past its end", flow.route->id});
    return;
  }
  flow.expiry = loop_.after(until(expires), [this, &flow] { follow_expiry(flow); });
}

net::WarmPool& Worker::pool_to(const NextHop& next) {
  auto& pool = pools_[key_of(next)];
  if (!pool) {
    const bool secure = !next.identity.empty();
    net::WarmPool::Settings settings;
    settings.to = next.proxy;
    settings.tls = secure ? certified_.client : nullptr;
    settings.identity = next.identity;
    // In clear there is little to save, and a silent connection soon meets the next proxy's handshake deadline.
    settings.keep = secure ? shared_.warm : 0;
    settings.connect.multipath = shared_.multipath;
    pool = std::make_unique<net::WarmPool>(loop_, std::move(settings));
  }
  return *pool;
}

net::WarmPool& Worker::preconnected(const SocketAddress& server, std::uint32_t keep) {
  auto& pool = pools_[key_of(server)];
  if (!pool) {
    net::WarmPool::Settings settings;
    settings.to = server;
    settings.keep = keep;
    settings.idle = std::chrono::seconds(limits::preconnect_idle_s);
    pool = std::make_unique<net::WarmPool>(loop_, std::move(settings));
  }
  return *pool;
}

void Worker::stop_accepting() {
  stopping_ = true;
  draining_ = true;
  for (auto* trunk : trunks_) trunk->drain();
  acceptors_.clear();
  pools_.clear();
  pools_end_ = {};
  const std::vector<Flow*> before(flows_.begin(), flows_.end());
  for (auto* flow : before) {
    if (flows_.contains(flow) && flow->stage == Flow::Stage::handshake) {
      flow->cut({Code::limit, "the proxy is stopping"});
    }
  }
}

void Worker::hand_over(Give give) {
  give_ = std::move(give);
  draining_ = true;
  acceptors_.clear();
  for (auto* trunk : trunks_) trunk->drain();
  for (auto& [key, pool] : pools_) pool->keep_none();  // the successor keeps its own
  datagrams_.hand_over();
  leave_soon();
}

void Worker::cut_all(const Error& why) {
  const std::vector<Flow*> before(flows_.begin(), flows_.end());
  for (auto* flow : before) {
    if (flows_.contains(flow)) flow->cut(why);
  }
  datagrams_.close_ports();
}

Snapshot Worker::snapshot() const {
  Snapshot made{counters_, {}};
  for (const auto& acceptor : acceptors_) made.counters.accept_pauses += acceptor->backed_off();
  for (const auto& [key, pool] : pools_) {
    made.counters.warm_hits += pool->hits();
    made.counters.warm_misses += pool->misses();
  }
  made.counters.functions_connected = controls_.connected();
  made.counters.timers = loop_.timers();
  datagrams_.add_to(made.counters.udp, [&made](const std::string& route, std::uint64_t to_server, std::uint64_t to_client) {
    made.counters.routes[route] += {0, to_server, to_client};
  });
  const auto now = net::Clock::now();
  made.counters.trunks = trunks_.size();
  for (const auto* flow : flows_) {
    if (flow->is_trunk) continue;
    FlowView view;
    view.id = flow->id;
    view.stage = stage_names[static_cast<std::size_t>(flow->stage)];
    view.source = flow->identity.empty() ? flow->peer.text() : flow->identity;
    if (flow->stage != Flow::Stage::handshake) view.destination = flow->target.text();
    if (flow->route) {
      view.route = flow->route->id;
      view.flow = flow->route->flow;
      for (const auto& link : flow->route->chain) view.chain.push_back(link.function);
    }
    if (!flow->route && flow->stage == Flow::Stage::open) view.flow = "UDP association";
    view.to_server_bytes = flow->bytes_to_server();
    view.to_client_bytes = flow->bytes_to_client();
    view.age_ms = static_cast<std::uint64_t>(std::chrono::duration_cast<milliseconds>(now - flow->since).count());
    made.flows.push_back(std::move(view));
  }
  return made;
}

}  // namespace epif::proxy
