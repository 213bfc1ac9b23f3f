#pragma once
#include <string>
#include <vector>

#include "model/route.h"

/// The text of one client's nginx.conf. Pure: the same input gives the same bytes.
namespace epif::nginx {

struct Build {
  std::string stream_module;  ///< path of the stream module; empty: NGINX has it built in
  unsigned workers = 1;
};

/// One server for each route: it listens on the route's port at the proxy, lets the client's addresses in and nobody else,
/// and connects to the route's one server. All paths lie in the folder that NGINX is started with (-p). Nothing is ever
/// written but the process id: bodies and answers pass unbuffered.
[[nodiscard]] std::string configuration(const std::vector<Route>& routes, const Build& build);

/// `text` as one word of the configuration language. In quotes only `\` and `"` mean something.
[[nodiscard]] std::string quoted(std::string_view text);
/// `text` inside of a comment: printable characters stay, the rest is \xNN, so that none ends the line.
[[nodiscard]] std::string remark(std::string_view text);

}  // namespace epif::nginx
