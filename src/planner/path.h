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

/// Table II for `auto`: NGINX for what is time-critical and needs no chain, else SOCKS6. NGINX carries no chain, so a
/// flow that asks for it and needs one gets SOCKS6. No proxy: direct.
[[nodiscard]] Method choose_method(const Flow& flow, const Path& path);
[[nodiscard]] std::string method_reason(const Flow& flow, const Path& path);

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
