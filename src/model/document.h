#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/resource.h"

/// Resources as text: YAML (any number of documents) or JSON (one resource, or a list of them), `apiVersion: epif/v1`
/// (taken for granted where it is left out).
///
/// Every error names file:line:column and the field. Refused: a wrong apiVersion, an unknown kind or field, a field
/// twice, a missing or wrongly typed value, a name outside of the alphabet, YAML anchors, aliases and tags (no alias
/// bombs), text beyond limits::document_max_bytes or limits::document_depth. A `status` that epif printed is read past.
namespace epif {

[[nodiscard]] Result<std::vector<Resource>> parse_resources(std::string_view text, std::string_view file);
/// For text that must hold exactly one, as a PUT's body.
[[nodiscard]] Result<Resource> parse_resource(std::string_view text, std::string_view file);

/// Reads files, and of folders all *.yaml, *.yml and *.json in the order of their names, not deeper; "-" is stdin. The
/// set is unique by kind and name; call check() on it once it is complete.
[[nodiscard]] Result<ResourceSet> load_resources(std::span<const std::string> paths);

/// Folders directly in those that `paths` names that hold documents and are not named themselves: what load_resources() leaves
/// out and a user may have meant. Sorted.
[[nodiscard]] std::vector<std::string> unread_folders(std::span<const std::string> paths);

/// Stable text: fields in a fixed order, defaults left out; parses back to an equal resource. The JSON is one line
/// without a newline at the end, the YAML a document without "---".
[[nodiscard]] std::string to_json(const Resource& resource);
[[nodiscard]] std::string to_yaml(const Resource& resource);

}  // namespace epif
