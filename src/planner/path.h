#pragma once
#include <string>
#include <vector>

#include "planner/catalog.h"
#include "planner/landscape.h"
#include "planner/order.h"
#include "planner/plan.h"

namespace epif::planner {

/// A connection's way through proxies, from its client's end.
struct Path {
  std::vector<PlacedFunction> chain;
  std::vector<std::string> proxies;
};

/// Puts steps on proxies. `from_client`: the steps stand in the direction client to server; else the other way round.
/// The client's proxy is always on the way; the server's if it holds a function or the client has none.
[[nodiscard]] Path make_path(const Catalog& catalog, const Landscape& landscape, const Landscape::Site& client,
                             const Landscape::Site& server, const std::vector<Step>& steps, bool from_client);

/// How a connection is carried, and why in a sentence.
struct Carrier {
  Method method = Method::automatic;
  std::string reason;
};
/// Table II for `auto`: NGINX for what is time-critical or HTTP, else SOCKS6. `against_nginx`: why NGINX cannot carry this flow;
/// a flow that asks for NGINX then gets SOCKS6, which can do more. No proxy: direct.
[[nodiscard]] Carrier choose_method(const Flow& flow, const Path& path, const std::string& against_nginx);

/// Why NGINX cannot carry the flow; empty if it can. It knows a client by its address alone and carries bytes in clear: no
/// datagrams, no chain, no selector, nothing that a policy asks an attribute for (`required`), and an IPv6 server only from an
/// IPv6 client through an IPv6 proxy. A machine without any address is only planned with, and counts as having all.
[[nodiscard]] std::string against_nginx(const Flow& flow, const Path& path, const Node& client, const Node& server,
                                        const ProxyNode* proxy, const AttributeSet& required);

struct Latency {
  double setup_ms = 0;
  double floor_ms = 0;
};
/// Eq. 6 to 9 for one request on a new connection, without the times of server, proxy and functions. CP is client to
/// first proxy, PS the rest of the way; what no `rtt` tells counts as zero. SOCKS5 counts 4 RTT_CP, as the article measured
/// without authentication.
[[nodiscard]] Latency predict(const Landscape& landscape, const Landscape::Site& client, const Landscape::Site& server,
                              const Path& path, Method method);

}  // namespace epif::planner
