#include "observe/record.h"

#include "base/limits.h"

namespace epif::observe {
namespace {

/// Talk of the link itself, to everybody or from nobody yet: no service of a peer.
bool is_to_many(const IpAddress& address) {
  if (address.is_any()) return true;
  const auto first = address.bytes()[0];
  return address.is_v6() ? first == 0xff : first >= 224;
}

}  // namespace

bool looks_like_client(const SocketAddress& one, const SocketAddress& other) { return one.port >= other.port; }

Record::Exchange* Record::find(const Ends& ends) {
  const auto at = exchanges_.find(ends);
  if (at == exchanges_.end()) return nullptr;
  by_age_.splice(by_age_.end(), by_age_, at->second.age);
  return &at->second;
}

const FlowKey* Record::begin(const Ends& ends, bool outgoing) {
  const FlowKey key{outgoing, outgoing ? ends.server.ip : ends.client.ip, ends.server.port, ends.protocol};
  auto flow = flows_.find(key);
  if (flow == flows_.end()) {
    if (flows_.size() >= limits::observed_flows) {
      ++left_out_;
      return nullptr;
    }
    flow = flows_.try_emplace(key).first;
  }
  ++flow->second.connections;
  forget_ended(ends);
  if (exchanges_.size() >= limits::observed_exchanges) {
    exchanges_.erase(by_age_.front());
    by_age_.pop_front();
  }
  by_age_.push_back(ends);
  exchanges_[ends] = Exchange{.flow = key, .age = std::prev(by_age_.end())};
  return &flow->first;
}

const FlowKey* Record::datagram(const Segment& segment, bool sent) {
  const Ends forward{segment.from, segment.to, Protocol::udp};
  const Ends backward{segment.to, segment.from, Protocol::udp};
  if (auto* known = find(forward)) {
    flows_[known->flow].to_server_bytes += segment.bytes;
    return nullptr;
  }
  if (auto* known = find(backward)) {
    flows_[known->flow].to_client_bytes += segment.bytes;
    return nullptr;
  }
  // The first packet that we see need not be the first one: a server's port is the lower.
  const bool from_client = looks_like_client(segment.from, segment.to);
  const auto* flow = begin(from_client ? forward : backward, from_client == sent);
  if (flow != nullptr) (from_client ? flows_[*flow].to_server_bytes : flows_[*flow].to_client_bytes) += segment.bytes;
  return flow;
}

void Record::end(const Segment& segment) {
  const Ends forward{segment.from, segment.to, Protocol::tcp};
  const Ends backward{segment.to, segment.from, Protocol::tcp};
  auto* exchange = find(forward);
  const bool by_client = exchange != nullptr;
  if (exchange == nullptr) exchange = find(backward);
  if (exchange == nullptr) return;
  auto& flow = flows_[exchange->flow];
  auto& ended = by_client ? exchange->client_ended : exchange->server_ended;
  if (!exchange->accepted) {
    ++flow.refused;
    exchange->client_ended = exchange->server_ended = true;
  } else if (!ended && exchange->older) {
    ended = true;
  } else if (!ended) {
    ended = true;
    const auto first = by_client ? exchange->client_begin : exchange->server_begin;
    (by_client ? flow.to_server_bytes : flow.to_client_bytes) += segment.sequence - first - 1;  // modulo 2^32, as TCP counts
  }
  if (!exchange->client_ended || !exchange->server_ended) return;
  by_age_.erase(exchange->age);
  exchanges_.erase(by_client ? forward : backward);
  note_ended(by_client ? forward : backward);
}

void Record::note_ended(const Ends& ends) {
  forget_ended(ends);
  ended_by_age_.push_back(ends);
  ended_[ends] = std::prev(ended_by_age_.end());
  if (ended_.size() > limits::observed_ended) forget_ended(Ends(ended_by_age_.front()));
}

void Record::forget_ended(const Ends& ends) {
  const auto at = ended_.find(ends);
  if (at == ended_.end()) return;
  ended_by_age_.erase(at->second);
  ended_.erase(at);
}

const FlowKey* Record::take(const Standing& connection) {
  const auto& [local, remote, outgoing, sent, received] = connection;
  if (is_to_many(remote.ip)) return nullptr;
  const Ends ends{outgoing ? local : remote, outgoing ? remote : local, Protocol::tcp};
  auto* exchange = find(ends);
  const FlowKey* begun = nullptr;
  if (exchange == nullptr) {
    if (ended_.contains(ends)) return nullptr;  // the kernel still showed what we know the end of
    begun = begin(ends, outgoing);
    if (begun == nullptr) return nullptr;
    exchange = &exchanges_[ends];
    exchange->older = true;
    ++flows_[*begun].older;
  }
  exchange->accepted = true;
  auto& flow = flows_[exchange->flow];
  const auto count = [](std::uint64_t& sum, std::uint64_t& known, std::uint64_t all) {
    if (all <= known) return;
    sum += all - known;
    known = all;
  };
  // Of one whose beginning and end were both seen, the end has counted.
  if (!exchange->client_ended || exchange->older) count(flow.to_server_bytes, exchange->to_server, outgoing ? sent : received);
  if (!exchange->server_ended || exchange->older) count(flow.to_client_bytes, exchange->to_client, outgoing ? received : sent);
  return begun;
}

const FlowKey* Record::take(const Segment& segment, bool sent) {
  if (is_to_many(segment.to.ip) || is_to_many(segment.from.ip)) return nullptr;
  switch (segment.kind) {
    case Segment::Kind::datagram: return datagram(segment, sent);
    case Segment::Kind::tcp_data: return nullptr;
    case Segment::Kind::tcp_end: end(segment); return nullptr;
    case Segment::Kind::tcp_begin: {
      const Ends ends{segment.from, segment.to, Protocol::tcp};
      if (auto* again = find(ends); again != nullptr && again->client_begin == segment.sequence) return nullptr;  // sent twice
      if (auto* old = find(ends)) {
        by_age_.erase(old->age);
        exchanges_.erase(ends);
      }
      const auto* flow = begin(ends, sent);
      if (flow != nullptr) exchanges_[ends].client_begin = segment.sequence;
      return flow;
    }
    case Segment::Kind::tcp_accept:
      if (auto* exchange = find({segment.to, segment.from, Protocol::tcp})) {
        exchange->accepted = true;
        exchange->server_begin = segment.sequence;
      }
      return nullptr;
  }
  return nullptr;
}

void Record::name(const IpAddress& address, const std::string& host) {
  const auto [at, fresh] = names_.insert_or_assign(address, host);
  static_cast<void>(at);
  if (!fresh) return;
  names_by_age_.push_back(address);
  if (names_.size() <= limits::observed_names) return;
  names_.erase(names_by_age_.front());
  names_by_age_.pop_front();
}

void Record::note_program(const FlowKey& flow, Program program) {
  const auto at = flows_.find(flow);
  if (at != flows_.end() && at->second.programs.size() < limits::observed_programs) at->second.programs.insert(std::move(program));
}

std::string Record::name_of(const IpAddress& address) const {
  const auto at = names_.find(address);
  return at == names_.end() ? std::string() : at->second;
}

}  // namespace epif::observe
