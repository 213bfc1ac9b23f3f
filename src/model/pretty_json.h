#pragma once
#include <boost/json/fwd.hpp>
#include <string>

namespace epif {

/// JSON for people: two-space indent, lists and maps without inner structure on one line where they fit into 100 bytes,
/// a newline at the end. Equal values give equal bytes.
[[nodiscard]] std::string print_pretty(const boost::json::value& value);

}  // namespace epif
