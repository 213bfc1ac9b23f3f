#include "model/image_reference.h"

#include <fmt/format.h>

namespace epif {

bool is_digest(std::string_view text) {
  constexpr std::string_view algorithm = "sha256:";
  return text.size() == algorithm.size() + 64 && text.starts_with(algorithm) &&
         text.substr(algorithm.size()).find_first_not_of("0123456789abcdef") == text.npos;
}

std::string_view digest_of_image(std::string_view image) {
  const auto at = image.rfind('@');
  if (at == 0) return {};
  const auto digest = at == image.npos ? image : image.substr(at + 1);
  return is_digest(digest) ? digest : std::string_view();
}

Result<> check_image(const BridgingFunction& function) {
  if (function.image.empty() || !digest_of_image(function.image).empty()) return {};
  return fail(Code::invalid_input,
              fmt::format("BridgingFunction '{}', spec.image: '{}' is not pinned", function.metadata.full_name(), function.image),
              function.metadata.origin.text(), "what a tag names may change, and a digest's content may not",
              "write NAME@sha256:DIGEST or the image's id, sha256:ID (64 digits); `epif bf image` prints the built-in one");
}

}  // namespace epif
