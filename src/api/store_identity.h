#pragma once
#include <string>

#include "base/error.h"
#include "store/store.h"

namespace epif::api {

/// What tells one store's history from any other's: random, made when first asked for, kept in the store itself as kind
/// "StoreIdentity", which the API never serves. Listings carry it, and a watch names it when it goes on, so that a reader
/// never takes an empty or foreign store for news about its own.
[[nodiscard]] Result<std::string> store_identity(store::Store& store);

}  // namespace epif::api
