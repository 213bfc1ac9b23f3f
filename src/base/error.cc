#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace epif {

std::string_view name(Code code) {
  switch (code) {
    case Code::usage: return "usage";
    case Code::invalid_input: return "invalid_input";
    case Code::not_found: return "not_found";
    case Code::conflict: return "conflict";
    case Code::permission: return "permission";
    case Code::unsupported: return "unsupported";
    case Code::denied: return "denied";
    case Code::no_route: return "no_route";
    case Code::revoked: return "revoked";
    case Code::expired: return "expired";
    case Code::unfeasible: return "unfeasible";
    case Code::cycle: return "cycle";
    case Code::unauthenticated: return "unauthenticated";
    case Code::protocol: return "protocol";
    case Code::limit: return "limit";
    case Code::timeout: return "timeout";
    case Code::refused: return "refused";
    case Code::net_unreachable: return "net_unreachable";
    case Code::host_unreachable: return "host_unreachable";
    case Code::ttl_expired: return "ttl_expired";
    case Code::reset: return "reset";
    case Code::truncated: return "truncated";
    case Code::address_in_use: return "address_in_use";
    case Code::no_descriptors: return "no_descriptors";
    case Code::bf_denied: return "bf_denied";
    case Code::bf_failed: return "bf_failed";
    case Code::bf_cut: return "bf_cut";
    case Code::engine: return "engine";
    case Code::io: return "io";
    case Code::internal: return "internal";
  }
  return "internal";
}

std::string Error::text() const {
  std::string line;
  if (!where.empty()) line += where + ": ";
  line += what;
  if (!why.empty()) line += ": " + why;
  if (!advice.empty()) line += "; " + advice;
  return line;
}

Error system_error(int error_number, std::string what, std::string where) {
  const auto code = [&] {
    switch (error_number) {
      case EACCES:
      case EPERM: return Code::permission;
      case ENOENT: return Code::not_found;
      case EADDRINUSE: return Code::address_in_use;
      case EMFILE:
      case ENFILE: return Code::no_descriptors;
      case ECONNREFUSED: return Code::refused;
      case ENETUNREACH: return Code::net_unreachable;
      case EHOSTUNREACH: return Code::host_unreachable;
      case ETIMEDOUT: return Code::timeout;
      case ECONNRESET:
      case EPIPE:
      case ECONNABORTED: return Code::reset;
      case EAFNOSUPPORT:
      case EOPNOTSUPP:
      case ENOSYS: return Code::unsupported;
      default: return Code::io;
    }
  }();
  return {code, std::move(what), std::move(where), std::generic_category().message(error_number), {}};
}

}  // namespace epif
