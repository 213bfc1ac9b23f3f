#include "socks/target.h"

namespace epif::socks {

Destination Target::destination() const {
  if (const auto* name = std::get_if<std::string_view>(&host)) return {std::string(*name), port};
  return {std::get<IpAddress>(host), port};
}

Target Target::of(const Destination& destination) {
  if (const auto* name = std::get_if<std::string>(&destination.host)) return {std::string_view(*name), destination.port};
  return {std::get<IpAddress>(destination.host), destination.port};
}

std::uint8_t address_type(const Target& target) {
  if (target.is_name()) return address_type_name;
  return std::get<IpAddress>(target.host).is_v6() ? address_type_v6 : address_type_v4;
}

Reply reply_for(Code code) {
  switch (code) {
    case Code::denied:
    case Code::no_route:
    case Code::revoked:
    case Code::expired:
    case Code::unfeasible:
    case Code::bf_denied:
    case Code::permission: return Reply::not_allowed;
    case Code::net_unreachable: return Reply::network_unreachable;
    case Code::host_unreachable:
    case Code::not_found: return Reply::host_unreachable;
    case Code::ttl_expired: return Reply::ttl_expired;
    case Code::refused:
    case Code::reset: return Reply::connection_refused;
    case Code::unsupported: return Reply::address_type_not_supported;
    case Code::timeout: return Reply::timed_out;
    default: return Reply::general_failure;
  }
}

Code code_for(Reply reply) {
  switch (reply) {
    case Reply::not_allowed: return Code::denied;
    case Reply::network_unreachable: return Code::net_unreachable;
    case Reply::host_unreachable: return Code::host_unreachable;
    case Reply::connection_refused: return Code::refused;
    case Reply::ttl_expired: return Code::ttl_expired;
    case Reply::command_not_supported:
    case Reply::address_type_not_supported: return Code::unsupported;
    case Reply::timed_out: return Code::timeout;
    default: return Code::internal;
  }
}

}  // namespace epif::socks
