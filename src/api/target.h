#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Request targets (RFC 3986): percent-encoding, path segments, query.
namespace epif::api {

/// Undoes percent-encoding; nothing for a malformed escape or a NUL, decoded or not.
[[nodiscard]] std::optional<std::string> decode(std::string_view text);
/// Encodes all but the unreserved characters, so that a name is one segment.
[[nodiscard]] std::string encode(std::string_view text);

/// "/a/b%2Fc" to {"a", "b/c"}; nothing if malformed, or for "." and "..". A slash at the end is ignored.
[[nodiscard]] std::optional<std::vector<std::string>> segments(std::string_view path);
/// The same without decoding, for patterns.
[[nodiscard]] std::vector<std::string_view> raw_segments(std::string_view path);

struct Target {
  std::string path;  ///< still encoded
  std::map<std::string, std::string> query;
};
/// Splits "path?a=1&b=2" and decodes the query ("+" is a space); nothing if malformed.
[[nodiscard]] std::optional<Target> parse_target(std::string_view target);

}  // namespace epif::api
