#include "redirect/datagrams.h"

#include "base/limits.h"
#include "base/log.h"

namespace epif::redirect {
namespace {

std::chrono::sys_seconds wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

std::string whose(const std::optional<Program>& owner) { return owner ? std::to_string(owner->user) + " " + owner->cgroup : ""; }

}  // namespace

Datagrams::Datagrams(net::Loop& loop, const Settings& settings, Stats& counts, std::shared_ptr<const Routes> routes, Pool pool,
                     OnRefusal on_refusal)
    : loop_(loop),
      settings_(settings),
      counts_(counts),
      routes_(std::move(routes)),
      pool_(std::move(pool)),
      on_refusal_(std::move(on_refusal)),
      replies_(settings.mark) {}

void Datagrams::hear(std::vector<Fd> sockets) {
  for (auto& socket : sockets) {
    ears_.push_back(std::make_unique<net::DatagramEar>(
        loop_, std::move(socket), [this](const net::Received& got) { take(got); }));
  }
}

Datagrams::~Datagrams() { assert(associations_.empty()); }

Result<Datagrams::Permit> Datagrams::route_for(const Pair& between, bool of_this_node) const {
  const auto& [client, destination] = between;
  Wanted wanted{destination, Transport::udp, nullptr};
  // Asked for each datagram: another program may have the client's port by now.
  std::optional<Program> program;
  if (of_this_node && routes_->asks_who(Transport::udp, destination)) {
    auto owner = net::datagram_owner(client);
    if (owner) program = std::move(*owner);
  }
  if (program) wanted.who = &*program;
  auto route = routes_->find(wanted, wall_now());
  if (!route) return fail(std::move(route.error()));
  if ((*route)->selector.empty()) program.reset();
  return Permit{*route, std::move(program)};
}

Result<net::Limiter::Place> Datagrams::place_for(const SocketAddress& client, bool of_this_node) {
  // The part of all forwarded hosts, then a source's own, then what all share: the first that is used up is told.
  net::Limiter::Place place;
  if (!of_this_node) {
    if (forwarded_ >= Forwarded::associations_of_a_thread) {
      ++counts_.shed_forwarded_associations;
      return fail(Code::limit, "too many sockets of forwarded hosts send datagrams", client.text());
    }
    auto entered = settings_.forwarded->associations.enter(client.ip);
    if (!entered) return entered;
    place = std::move(*entered);
  }
  if (associations_.size() < limits::datagram_associations) return place;
  ++counts_.shed_associations;
  return fail(Code::limit, "too many sockets send datagrams", client.text());
}

void Datagrams::refuse(const Pair& between, const Error& why, bool of_this_node) {
  ++counts_.datagrams_dropped[why.code];
  // One word for many datagrams: programs send again and again. What was revoked is over; the next datagram asks the routes of now.
  if (why.code != Code::revoked) {
    if (refused_.size() >= limits::datagram_associations) refused_.clear();
    refused_[between] = {why.code, loop_.now() + std::chrono::milliseconds(limits::datagram_retry_ms)};
  }
  on_refusal_(between.first, between.second, why, of_this_node);
}

std::optional<Code> Datagrams::refused_lately(const Pair& between) {
  const auto found = refused_.find(between);
  if (found == refused_.end()) return {};
  if (loop_.now() < found->second.until) return found->second.why;
  refused_.erase(found);
  return {};
}

void Datagrams::take(const net::Received& datagram) {
  const auto& [payload, client, destination, of_this_node] = datagram;
  const Pair between{client, destination};
  // Sent to the redirector's own socket, it wants to go nowhere.
  if (destination.port == 0 || (destination.port == settings_.listen_port && destination.ip.is_loopback())) {
    ++counts_.datagrams_dropped[Code::denied];
    return;
  }
  if (const auto why = refused_lately(between)) {
    ++counts_.datagrams_dropped[*why];
    return;
  }
  auto permit = route_for(between, of_this_node);
  if (!permit) return refuse(between, permit.error(), of_this_node);
  const auto* route = permit->route;
  const Key key{client, route->id, route->destination.text(), whose(permit->owner)};
  auto found = associations_.find(key);
  if (found == associations_.end()) {
    auto place = place_for(client, of_this_node);
    if (!place) return refuse(between, place.error(), of_this_node);
    auto* pool = route->next ? &pool_(*route->next) : nullptr;
    auto* made = new Association(loop_, settings_, {client, of_this_node, std::move(permit->owner), std::move(*place)}, routes_, route, pool,
                                 [this, key](const SocketAddress& from, ByteSpan bytes) { deliver(key, from, bytes); });
    found = associations_.emplace(key, made).first;
    if (!of_this_node) ++forwarded_;
    net::spawn(serve(key, made));
    // It may have ended before it waited for anything.
    found = associations_.find(key);
    if (found == associations_.end()) return;
  }
  if (!found->second->send(destination, payload)) ++counts_.datagrams_dropped[Code::limit];
}

net::Task<void> Datagrams::serve(Key key, Association* association) {
  const std::unique_ptr<Association> owned(association);
  auto outcome = co_await owned->run();
  counts_.datagrams_sent += owned->counts().sent;
  counts_.bytes_sent += owned->counts().bytes_sent;
  counts_.bytes_received += owned->counts().bytes_received;
  if (!outcome) refuse({owned->client(), owned->destination()}, outcome.error(), owned->of_this_node());
  if (!owned->of_this_node()) --forwarded_;
  associations_.erase(key);
}

void Datagrams::deliver(const Key& key, const SocketAddress& from, ByteSpan payload) {
  const auto found = associations_.find(key);
  assert(found != associations_.end());
  auto& association = *found->second;
  if (association.owner()) {
    // As with each datagram sent: the port may be another program's since the question.
    const auto owner = net::datagram_owner(association.client());
    if (!owner || *owner != *association.owner()) {
      ++counts_.datagrams_dropped[Code::revoked];
      return association.end();
    }
  }
  ++counts_.datagrams_received;
  answer(from, association.client(), payload);
}

void Datagrams::answer(const SocketAddress& from, const SocketAddress& client, ByteSpan payload) {
  if (!replies_.send(from, client, payload)) ++counts_.datagrams_dropped[Code::io];
}

void Datagrams::apply(std::shared_ptr<const Routes> routes) {
  routes_ = std::move(routes);
  refused_.clear();
  for (auto& [key, association] : associations_) {
    const auto now = route_for({association->client(), association->destination()}, association->of_this_node());
    if (now && now->owner == association->owner() && same_permit(association->route(), *now->route)) {
      association->renew(routes_, now->route);
      continue;
    }
    Error reason = now ? Error{Code::revoked, "the route changed", association->destination().text(), association->route().flow} : now.error();
    if (!now && reason.code != Code::expired) reason.code = Code::revoked;
    association->end_with(reason);
  }
}

void Datagrams::end_all(const Error& reason) {
  stop_hearing();
  for (auto& [key, association] : associations_) association->end_with(reason);
}

void Datagrams::report(Stats& stats, bool with_flows) const {
  stats.associations = associations_.size();
  for (const auto& [key, association] : associations_) {
    const auto& counts = association->counts();
    stats.datagrams_sent += counts.sent;
    stats.bytes_sent += counts.bytes_sent;
    stats.bytes_received += counts.bytes_received;
    if (!with_flows) continue;
    const auto& route = association->route();
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(net::Clock::now() - association->since());
    stats.flows.push_back({route.id, route.flow, association->client(), association->destination(),
                           route.next ? route.next->proxy.text() : "", counts.bytes_sent, counts.bytes_received,
                           static_cast<std::uint64_t>(age.count()), 0, "udp"});
  }
}

}  // namespace epif::redirect
