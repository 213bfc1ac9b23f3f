#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/origin.h"
#include "model/resource.h"

/// From a fault back to the place in the user's text.
namespace epif {

/// What an error of ResourceSet::check(), check_image() or the planner's catalogue is about, as its `what` begins:
/// "Node 'umc/modality', spec.proxy: ...", "Application 'a', flow 'f', spec.flows[0].to: ...".
struct Subject {
  Kind kind = Kind::domain;
  std::string object;  ///< full name
  std::string field;   ///< path, as "spec.flows[0].to"
};
[[nodiscard]] std::optional<Subject> subject_of(const Error& error);

/// Where `field` stands in `text` (YAML or JSON), in the document that begins at `document`. A field that is absent, or is
/// missing below a part that is there, has the place of that part; without any, of the document.
[[nodiscard]] Origin field_place(std::string_view text, const Origin& document, std::string_view field);

}  // namespace epif
