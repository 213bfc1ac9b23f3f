#pragma once
#include <string>
#include <string_view>

#include "base/error.h"
#include "store/store.h"

/// Where a resource is in the API, and the shape of a list there.
namespace epif::api {

/// "/v1/nodes/umc/modality"; without a name the list. Works for every kind: "<kind in small letters>s" is always understood.
[[nodiscard]] std::string resource_path(std::string_view kind, std::string_view name = {});

/// {"apiVersion","kind":"List","revision":7,"items":[records]}.
[[nodiscard]] std::string print_listing(const store::Listing& listing);
[[nodiscard]] Result<store::Listing> parse_listing(std::string_view json);

}  // namespace epif::api
