#include "association/association.h"

#include <fmt/format.h>

#include "association/port_pair.h"
#include "base/limits.h"
#include "base/log.h"
#include "onward/dns_service.h"
#include "onward/stack.h"

namespace epif::association {
namespace {

using std::chrono::seconds;

std::chrono::sys_seconds wall_clock() { return std::chrono::floor<seconds>(std::chrono::system_clock::now()); }

}  // namespace

Association::Association(Datagrams& datagrams, Client client, const admission::ClientRequest& request)
    : datagrams_(datagrams),
      loop_(datagrams.loop()),
      shared_(datagrams.shared()),
      around_(datagrams.surroundings()),
      client_(std::move(client)),
      request_(request),
      destinations_([this](const Destination& to) { return decide(to); }, [this](const Destinations::Entry& entry) { settle(entry); },
                    queued_),
      queue_(client_.stream, queued_),
      alive_(std::make_shared<Association*>(this)),
      used_(loop_.now()) {
  datagrams_.enter(*this);
}

Association::~Association() {
  *alive_ = nullptr;
  for (auto* asking : asking_) asking->cancel({Code::truncated, "the association is over"});
  for (auto& [route, next] : next_) next.close();
  destinations_.clear();
  datagrams_.leave(*this);
}

Asker Association::asker() const {
  return {client_.identity, client_.peer.ip.unmapped(), request_.flow, epif::Protocol::udp};
}

std::string Association::owner() const {
  return request_.session ? "session " + to_hex(request_.session->id()) : client_name();
}

std::string Association::client_name() const {
  return client_.identity.empty() ? client_.peer.ip.unmapped().text() : client_.identity;
}

Result<> Association::open() {
  if (!around_.route_for_all() && !around_.routing().entitles(asker(), wall_clock())) {
    return fail(Code::no_route, "no route permits this client any datagram", {}, {}, "add a route with protocol udp");
  }
  if (request_.protocol == admission::Protocol::socks6 && client_.identity.empty() && datagrams_.has_let_go()) {
    return fail(Code::limit, "this process drains, and hears no datagrams any more", {}, {}, "connect again");
  }
  auto place = shared_.associations.enter(client_.peer.ip);
  if (!place) return fail(Code::limit, "too many UDP associations", {}, place.error().what);
  place->handshake_over();
  queued_.count_at(std::move(*place));
  auto opened = open_remote();
  if (!opened) return opened;
  if (request_.protocol == admission::Protocol::socks6) {
    number_ = datagrams_.give_number(*this);
    client_facts_ = onward::client_leg_facts(request_.stack, client_.stream.fd());
    ++datagrams_.counts().associations_socks6;
    return {};
  }
  auto relay = net::DatagramSocket::open(loop_, {net::local_address(client_.stream.fd()).ip.unmapped(), 0}, {});
  if (!relay) return fail(std::move(relay.error()));
  relay_ = std::move(*relay);
  // A client that does not name the address that we see it at may not know its port there, either (a NAT on the way): the first
  // datagram tells. RFC 1928 section 7 lets us limit access by what the request says, and does not make us.
  const auto* ip = std::get_if<IpAddress>(&request_.target.host);
  if (ip != nullptr && ip->unmapped() == client_.peer.ip.unmapped()) client_port_ = request_.target.port;
  ++datagrams_.counts().associations_socks5;
  return {};
}

net::DatagramOptions Association::remote_options() const {
  net::DatagramOptions options{.dual_stack = true};
  const auto& wishes = request_.stack;
  if (const auto* tos = wishes.find<socks6::Tos>()) options.tos = tos->value;
  if (const auto* ttl = wishes.find<socks6::Ttl>(); ttl != nullptr && ttl->value > 0) options.ttl = ttl->value;
  if (const auto* whole = wishes.find<socks6::NoFragmentation>()) options.no_fragmentation = whole->wanted;
  if (const auto* errors = wishes.find<socks6::UdpError>()) options.icmp_errors = errors->wanted;
  return options;
}

Result<> Association::open_remote() {
  auto fd = bind_remote();
  if (!fd) return fail(std::move(fd.error()));
  remote_ = std::make_unique<net::DatagramSocket>(loop_, std::move(*fd));
  return {};
}

Result<Fd> Association::bind_remote() {
  const auto options = remote_options();
  SocketAddress at;  // SOCKS5 tells where the client sends from, not where we should
  if (request_.protocol == admission::Protocol::socks6) {
    const auto* ip = std::get_if<IpAddress>(&request_.target.host);
    if (ip == nullptr) return fail(Code::unsupported, "UDP ASSOCIATE at a name", request_.target.text());
    at = {ip->unmapped(), request_.target.port};
  }
  if (at.port != 0) {
    if (auto kept = shared_.reservations.claim(at, owner())) {
      net::set_options(kept->get(), options);
      return std::move(*kept);
    }
    if (at.port < limits::bind_port_min && !around_.route_for_all()) {
      return fail(Code::denied, "UDP ASSOCIATE at a port below 1024", at.text());
    }
  }
  const Bind bind = [&](const SocketAddress& to) { return net::bind_datagrams(to, options); };
  const auto* wish = request_.stack.find<socks6::PortParity>();
  if (wish == nullptr || (wish->parity == 0 && !wish->reserve) || at.port != 0) return bind_either_family(at, bind);
  // A counterpart is for whoever claims it, with wishes of its own.
  const Bind bind_pair = [&](const SocketAddress& to) {
    return net::bind_datagrams(to, to.port == 0 ? options : net::DatagramOptions{.dual_stack = true});
  };
  auto pair = bind_with_parity(at.ip, *wish, bind_pair);
  if (!pair) return fail(std::move(pair.error()));
  if (pair->counterpart) {
    const auto kept = net::local_address(pair->counterpart.get());
    reserved_ = shared_.reservations.keep(std::move(pair->counterpart), {kept.ip.unmapped(), kept.port}, owner());
  }
  return std::move(pair->socket);
}

SocketAddress Association::bound() const {
  if (relay_) return relay_->address();
  auto at = remote_->address();
  if (at.ip.is_any()) at.ip = net::local_address(client_.stream.fd()).ip.unmapped();
  return at;
}

socks6::StackOptions Association::facts() const {
  using socks6::Leg;
  auto facts = client_facts_;
  const auto& wishes = request_.stack;
  const int fd = remote_->fd();
  if (wishes.find<socks6::Tos>() != nullptr) {
    if (const auto tos = net::tos_in_force(fd)) facts.add(socks6::Tos{Leg::proxy_remote, *tos});
  }
  if (wishes.find<socks6::Ttl>() != nullptr) {
    if (const auto ttl = net::ttl_in_force(fd)) facts.add(socks6::Ttl{Leg::proxy_remote, *ttl});
  }
  if (wishes.find<socks6::NoFragmentation>() != nullptr) {
    facts.add(socks6::NoFragmentation{Leg::proxy_remote, net::never_fragments(fd)});
  }
  if (const auto* wish = wishes.find<socks6::UdpError>()) facts.add(*wish);
  if (const auto* wish = wishes.find<socks6::PortParity>()) {
    const bool met = has_parity(remote_->address().port, wish->parity);
    facts.add(socks6::PortParity{met ? wish->parity : std::uint8_t{0}, static_cast<bool>(reserved_)});
  }
  return onward::with_denials(std::move(facts), wishes);
}

Result<RoutePtr> Association::decide(const Destination& destination) {
  const auto* ip = std::get_if<IpAddress>(&destination.host);
  if (ip != nullptr && ip->is_any() && !onward::is_dns_service(destination)) {
    return fail(Code::denied, "no host has this address", destination.text());
  }
  if (auto route = around_.route_for_all()) return route;
  auto route = around_.routing().find(asker(), destination, wall_clock());
  if (!route) return route;
  auto& place = route_places_[(*route)->id];
  if (!place) {
    auto entered = shared_.limiter.enter_route((*route)->id, (*route)->limits.connections);
    if (!entered) return fail(std::move(entered.error()));
    place = std::move(*entered);
    around_.route_taken((*route)->id);
  }
  return route;
}

net::Task<Result<>> Association::run(Bytes early) {
  watch_idle();
  if (!relay_) {
    std::array<std::uint8_t, socks6::udp_common_bytes> init{};
    const auto size = socks6::encode_udp_init(number_, init);
    static_cast<void>(queue_.push(ByteSpan(init).first(size), {}));
    queue_.flush();
  }
  auto towards_client = relay_ ? serve_relay() : queue_.run();
  auto both = net::when_both(serve_remote(), std::move(towards_client));
  co_await net::when_both(follow_connection(std::move(early)), std::move(both));
  co_return std::move(outcome_);
}

seconds Association::patience() const {
  if (!used_once_) return seconds(limits::udp_first_datagram_s);
  std::uint32_t longest = 0;
  destinations_.each([&](const Destinations::Entry& entry) {
    const auto wish = entry.route->limits.idle_s;
    longest = std::max(longest, wish != 0 ? wish : limits::udp_idle_s);
  });
  return seconds(longest != 0 ? longest : limits::udp_idle_s);
}

void Association::watch_idle() {
  const auto patience = this->patience();
  if (loop_.now() - used_ >= patience) {
    end({});
    return;
  }
  idle_ = loop_.at(used_ + patience, [this] { watch_idle(); });
}

void Association::end(Result<> outcome) {
  if (over_) return;
  over_ = true;
  outcome_ = std::move(outcome);
  idle_.cancel();
  const Error why{Code::truncated, "the association is over"};
  remote_->interest().fail(why);
  if (relay_) relay_->interest().fail(why);
  queue_.close();
  if (queue_.blocked()) client_.stream.abort(why);
  client_.stream.nudge_reader();
}

void Association::adopt() {
  if (!remote_) return;
  if (around_.route_for_all()) return;
  const auto now = wall_clock();
  if (!around_.routing().entitles(asker(), now)) {
    client_.cut({Code::revoked, "no route permits this client any datagram"});
  }
  const auto lost = destinations_.adopt([&](const Destinations::Entry& entry) {
    if (!request_.flow.empty()) return around_.routing().successor(*entry.route, now);
    return around_.routing().successor(*entry.route, asker(), {false, entry.asked}, now);
  });
  for (const auto& destination : lost) {
    around_.destination_cut(Code::revoked);
    log::warn("proxy", "datagrams cut", {{"from", client_name()}, {"to", destination.text()}, {"reason", "revoked"}});
  }
  std::erase_if(route_places_, [&](const auto& entry) { return !destinations_.uses(entry.first); });
  std::erase_if(next_, [&](auto& entry) {
    if (destinations_.uses(entry.first)) return false;
    entry.second.close();
    return true;
  });
}

void Association::lose_port() {
  if (!remote_ || relay_ || std::holds_alternative<InStream>(path_)) return;
  const bool in_stream_only = std::holds_alternative<std::monostate>(path_) && !client_.identity.empty();
  if (in_stream_only) return;
  path_ = std::monostate{};  // which holds the port open
  client_.cut({Code::truncated, "no process hears this association's datagrams at the UDP port any more"});
}

void Association::settle(const Destinations::Entry& entry) {
  around_.route_carried(entry.route->id, entry.to_server_bytes, entry.to_client_bytes);
}

void Association::add_to(UdpCounts& counts, const Datagrams::Carried& carried) const {
  counts.destinations += destinations_.size();
  counts.queued_bytes += queued_.bytes();
  for (const auto& [route, next] : next_) {
    if (next.ended()) continue;
    ++counts.next_proxies;
    counts.queued_bytes += next.association->queued_bytes();
  }
  destinations_.each([&](const Destinations::Entry& entry) { carried(entry.route->id, entry.to_server_bytes, entry.to_client_bytes); });
}

}  // namespace epif::association
