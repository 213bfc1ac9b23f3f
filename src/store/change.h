#pragma once
#include <optional>

#include "store/store.h"

/// The rules of a write, apart from where records are kept: both stores follow these.
namespace epif::store {

/// What `write` makes of the resource as it stands (`current`, empty if there is none): the event to record, with revision
/// `next`, or nothing if the write changes nothing. Errors as Store::commit states them.
[[nodiscard]] Result<std::optional<Event>> change(const Write& write, const std::optional<Record>& current, Revision next);

/// Code::expired for a watcher that asks for history before `compacted`.
[[nodiscard]] Error too_old(Revision after, Revision compacted);

}  // namespace epif::store
