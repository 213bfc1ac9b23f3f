#pragma once
#include <string>
#include <string_view>

#include "store/store.h"

namespace epif::store {

/// The line that follows `last` (empty: the log is empty) and says `entry` at `time`.
[[nodiscard]] AuditLine next_line(const AuditLine& last, std::string time, std::string_view entry);
/// Now, as AuditLine::time is written.
[[nodiscard]] std::string utc_now();

}  // namespace epif::store
