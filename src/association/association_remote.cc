#include "association/association.h"
#include "association/udp_messages.h"
#include "base/limits.h"
#include "base/log.h"
#include "model/reverse_allowance.h"
#include "net/icmp_error.h"
#include "onward/dns_service.h"
#include "onward/stack.h"

namespace epif::association {
namespace {

constexpr unsigned batches_in_a_row = 8;

std::chrono::sys_seconds wall_clock() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

/// As the client knows this host: the DNS service has no other address than the one it is asked at.
socks::Target known_as(const Destinations::Entry& entry, const SocketAddress& host) {
  return onward::is_dns_service(entry.asked) ? socks::Target::of(entry.asked) : socks::Target::of(host);
}

}  // namespace

net::Task<void> Association::serve_remote() {
  for (unsigned batches = 1; !over_; ++batches) {
    auto ready = co_await remote_->interest().readable();
    if (!ready || over_) co_return;
    const auto* errors = request_.stack.find<socks6::UdpError>();
    if (errors != nullptr && errors->wanted) report_icmp();
    for (const auto& packet : datagrams_.reader().read(*remote_)) take_answer(packet);
    flush_to_client();
    if (batches % batches_in_a_row == 0) co_await net::Yield{loop_};
  }
}

bool Association::may_answer(Destinations::Entry& entry, std::size_t bytes) const {
  const auto& route = *entry.route;
  if (route.data == DataDirection::push && entry.to_client_bytes + bytes > reverse_allowance(route, entry.to_server_bytes)) {
    datagrams_.counts().drop(UdpDrop::limit);
    return false;
  }
  entry.to_client_bytes += bytes;
  client_.to_client.bytes += bytes;
  return true;
}

void Association::take_answer(const net::Packet& packet) {
  auto& counts = datagrams_.counts();
  used_ = loop_.now();
  auto* entry = destinations_.answered_by(packet.from, wall_clock());
  if (entry != nullptr) {
    if (may_answer(*entry, packet.payload.size())) to_client(known_as(*entry, packet.from), packet.payload);
    return;
  }
  // A host that speaks first. SOCKS6 has a way to ask for it; a route must lead there and let its data come.
  if (relay_) return counts.drop(UdpDrop::unasked);
  const auto route = decide({packet.from.ip, packet.from.port});
  if (!route || (*route)->next || (*route)->data == DataDirection::push) return counts.drop(UdpDrop::unasked);
  around_.route_carried((*route)->id, 0, packet.payload.size());
  client_.to_client.bytes += packet.payload.size();
  to_client(socks::Target::of(packet.from), packet.payload);
}

void Association::report_icmp() {
  while (const auto met = net::next_icmp_error(remote_->fd())) {
    const auto code = udp_error_code(met->six, met->type, met->code);
    const auto* entry = destinations_.answered_by(met->destination, wall_clock());
    if (!code || entry == nullptr) continue;
    report(met->destination, *code, met->reporter);
  }
}

void Association::to_server(const socks::Target& target, ByteSpan payload) {
  auto& counts = datagrams_.counts();
  const auto now = loop_.now();
  used_ = now;
  used_once_ = true;
  auto admission = destinations_.admit(target, now, wall_clock());
  if (admission.entry == nullptr) {
    counts.drop(admission.for_limit ? UdpDrop::limit : UdpDrop::denied);
    if (admission.news && !admission.for_limit) {
      around_.destination_refused(client_name(), target.destination(), *admission.news);
      log::warn("proxy", "datagrams refused",
                {{"from", client_name()}, {"to", target.destination().text()}, {"reason", std::string(epif::name(admission.news->code))},
                 {"why", admission.news->text()}});
    }
    return;
  }
  auto& entry = *admission.entry;
  if (admission.is_new) watch_idle();  // by this route's limit
  const auto& route = *entry.route;
  if (route.data == DataDirection::pull && entry.to_server_bytes + payload.size() > reverse_allowance(route, entry.to_client_bytes)) {
    return counts.drop(UdpDrop::limit);
  }
  if (route.next) return send_to_next(entry, payload);
  const bool stale = entry.asked.is_name() && now - entry.resolved > std::chrono::seconds(limits::udp_name_valid_s);
  if (entry.at && !stale) return send(entry, payload);
  const auto* ip = std::get_if<IpAddress>(&entry.asked.host);
  if (ip != nullptr && !onward::is_dns_service(entry.asked)) {
    destinations_.set_address(entry, {*ip, entry.asked.port}, now);
    return send(entry, payload);
  }
  if (!destinations_.hold(entry, payload, now)) return counts.drop(UdpDrop::limit);
  if (!entry.resolving) resolve(entry);
}

void Association::send(Destinations::Entry& entry, ByteSpan payload) {
  entry.to_server_bytes += payload.size();
  client_.to_server.bytes += payload.size();
  datagrams_.sender().add(*remote_, *entry.at, 0, payload);
}

void Association::resolve(Destinations::Entry& entry) {
  entry.resolving = true;
  if (onward::is_dns_service(entry.asked)) {
    const auto servers = onward::name_servers_or_system(shared_.name_servers);
    entry.resolving = false;
    if (servers.empty()) {
      datagrams_.counts().drop(UdpDrop::unresolved, destinations_.take_waiting(entry).size());
      return;
    }
    destinations_.set_address(entry, servers.front(), loop_.now());
    for (const auto& [since, payload] : destinations_.take_waiting(entry)) {
      send(entry, payload);
      datagrams_.flush(Datagrams::Direction::to_server);
    }
    return;
  }
  net::spawn(find_address(alive_, entry.asked, entry.route));
}

net::Task<void> Association::find_address(std::shared_ptr<Association*> alive, Destination asked, RoutePtr route) {
  auto& datagrams = (*alive)->datagrams_;
  net::Resolver::Asking asking((*alive)->client_.peer.ip, net::Clock::now() + std::chrono::milliseconds(limits::connect_deadline_ms));
  (*alive)->asking_.insert(&asking);
  auto found = co_await onward::addresses_of(datagrams.loop(), datagrams.shared().resolver, asked, *route, asking);
  if (*alive == nullptr) co_return;
  (*alive)->asking_.erase(&asking);
  (*alive)->resolved(asked, std::move(found));
}

void Association::resolved(const Destination& asked, Result<std::vector<IpAddress>> found) {
  // What was granted before the wait may not be any more.
  auto admission = destinations_.admit(socks::Target::of(asked), loop_.now(), wall_clock());
  if (admission.entry == nullptr) return;
  auto& entry = *admission.entry;
  entry.resolving = false;
  const auto waiting = destinations_.take_waiting(entry);
  const bool usable = found && (entry.route->destination.block.prefix == 0 ||
                                entry.route->destination.block.contains(found->front().unmapped()));
  if (!usable) {
    datagrams_.counts().drop(UdpDrop::unresolved, waiting.size());
    log::warn("proxy", "datagrams refused",
              {{"from", client_name()}, {"to", asked.text()}, {"why", found ? "the name leads out of the route" : found.error().text()}});
    return;
  }
  const auto now = loop_.now();
  destinations_.set_address(entry, {found->front().unmapped(), asked.port}, now);
  for (const auto& [since, payload] : waiting) {
    if (now - since > std::chrono::milliseconds(limits::udp_queued_ms)) {
      datagrams_.counts().drop(UdpDrop::unresolved);
    } else {
      send(entry, payload);
    }
  }
  datagrams_.flush(Datagrams::Direction::to_server);
}

void Association::send_to_next(Destinations::Entry& entry, ByteSpan payload) {
  auto& counts = datagrams_.counts();
  if (!next_.contains(entry.route->id) && !room_for_next()) return counts.drop(UdpDrop::limit);
  auto* next = next_for(entry.route);
  if (next == nullptr) return counts.drop(UdpDrop::unreachable);
  if (!next->send(socks::Target::of(entry.asked), payload)) return counts.drop(UdpDrop::congested);
  entry.to_server_bytes += payload.size();
  client_.to_server.bytes += payload.size();
  ++counts.to_server;
}

NextAssociation::Listener Association::listener(const std::string& route_id) {
  NextAssociation::Listener made;
  made.datagram = [this, route_id](const socks::Target& source, ByteSpan payload) { take_from_next(route_id, source, payload); };
  made.error = [this](const socks6::UdpMessage& error) {
    const auto* ip = std::get_if<IpAddress>(&error.target.host);
    if (ip != nullptr) report({*ip, error.target.port}, error.error, error.reporter);
  };
  made.batch = [this] { flush_to_client(); };
  made.ended = [this, route_id](const Error& why) { lost_next(route_id, why); };
  return made;
}

void Association::lost_next(const std::string& route_id, const Error& why) const {
  log::warn("proxy", "datagrams lost their next proxy", {{"from", client_name()}, {"route", route_id}, {"why", why.text()}});
}

bool Association::room_for_next() {
  if (next_.size() < limits::udp_next_proxies) return true;
  const auto now = loop_.now();
  // One that failed is not asked again for a while: until then its place is not free either.
  std::erase_if(next_, [&](const auto& entry) { return entry.second.ended() && now >= entry.second.retry; });
  if (next_.size() < limits::udp_next_proxies) return true;
  const auto oldest = std::ranges::min_element(next_, {}, [](const auto& entry) { return entry.second.used; });
  if (now - oldest->second.used < std::chrono::seconds(limits::udp_destination_idle_s)) return false;
  oldest->second.close();
  next_.erase(oldest);
  return true;
}

NextAssociation* Association::next_for(const RoutePtr& route) {
  auto& next = next_[route->id];
  const auto now = loop_.now();
  next.used = now;
  if (!next.ended()) return next.association.get();
  if (now < next.retry) return nullptr;
  next.retry = now + std::chrono::milliseconds(limits::udp_next_retry_ms);
  if (!route->next->identity.empty() && !around_.certified()) {
    lost_next(route->id, {Code::unauthenticated, "the next proxy wants a certificate", route->next->proxy.text(), {},
                          "start this proxy with --cert, --key and --ca"});
    return nullptr;
  }
  auto place = shared_.next_associations.enter(client_.peer.ip);
  if (!place) {
    lost_next(route->id, {Code::limit, "too many associations with next proxies", {}, place.error().what});
    return nullptr;
  }
  place->handshake_over();
  next.association = std::make_shared<NextAssociation>(listener(route->id), std::move(*place));
  onward::NextRequest request{{IpAddress{}, 0}, route->id};
  request.command = socks::Command::udp_associate;
  for (const auto& option : request_.stack) {
    if (socks6::leg_of(option) != socks6::Leg::client_proxy) request.stack.add(onward::on_remote_leg(option));
  }
  next.association->start(around_.pool_to(*route->next), std::move(request));
  return next.association.get();
}

void Association::take_from_next(const std::string& route_id, const socks::Target& source, ByteSpan payload) {
  used_ = loop_.now();
  if (const auto next = next_.find(route_id); next != next_.end()) next->second.used = used_;
  auto* entry = destinations_.answered_on(route_id, source, wall_clock());
  const bool inside = entry != nullptr && leads_to(*entry->route, source.destination());
  if (!inside) return datagrams_.counts().drop(UdpDrop::unasked);
  if (may_answer(*entry, payload.size())) to_client(source, payload);
}

void Association::flush() {
  for (auto& [route, next] : next_) {
    if (next.association) next.association->flush();
  }
}

}  // namespace epif::association
