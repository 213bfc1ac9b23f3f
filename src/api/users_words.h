#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/resource.h"

/// What `epif apply` sends, and the server's errors about it in the words of the user's files: the request is a text that
/// nobody ever saw.
namespace epif::api {

/// Path and query of the request that takes body_of().
inline constexpr std::string_view apply_path = "/v1/apply?source=request.json";

/// One JSON document a line, so that the server's "request.json:LINE" leads back to a resource.
[[nodiscard]] std::string body_of(std::span<const Resource> resources);

/// `error` with file:line:column of the user's field (of the document where the field is not known, or the input was
/// stdin), with object and field, and without places in the request. Reads the user's file once more. Errors about what is
/// not in `resources` stay as they are.
[[nodiscard]] Error in_users_words(Error error, std::span<const Resource> resources);

}  // namespace epif::api
