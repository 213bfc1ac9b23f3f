#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "model/route.h"

namespace epif::admission {

/// What a client of the socksx dialect says about the proxies on its way, as socksx::Chain has it. Not to be believed.
struct ChainMetadata {
  std::size_t index = 0;           ///< of the link that this proxy is
  std::vector<std::string> links;  ///< "socks6://host:port"
};

/// The two ends of a client's connection.
struct Leg {
  SocketAddress here;
  IpAddress client;
};

/// Holds each link against what this proxy knows: behind its own the route's next proxy or nothing; its own link the address at which the
/// client reached it; before that the client, and before the client the first proxy, which socksx always calls "root" and nothing else.
/// A link that neither the route nor the connection can confirm is refused, too. Pure. Errors: denied, with the link.
[[nodiscard]] Result<> confirm(const ChainMetadata& chain, const Route& route, const Leg& leg);

}  // namespace epif::admission
