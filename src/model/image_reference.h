#pragma once
#include <string_view>

#include "base/error.h"
#include "model/infrastructure.h"

/// How BridgingFunction.spec.image names an image: by its content, never by a tag, since whoever may move a tag could put
/// another program into the path of the data, with the trust that was given to the first one.
namespace epif {

/// "sha256:" and 64 lower-case hexadecimal digits: of an image's configuration (its id) or of its manifest.
[[nodiscard]] bool is_digest(std::string_view text);

/// The digest of "sha256:..." or "NAME@sha256:..."; empty for anything else. It alone decides; the name is for people.
[[nodiscard]] std::string_view digest_of_image(std::string_view image);

/// An image that is given must be pinned. Errors: invalid_input, naming the function and spec.image. No image is fine for a
/// function that is only planned with.
[[nodiscard]] Result<> check_image(const BridgingFunction& function);

}  // namespace epif
