#pragma once
#include <string>
#include <vector>

#include "observe/record.h"

namespace epif::observe {

/// Who observed, and how long.
struct Observer {
  std::string host;
  std::vector<IpAddress> addresses;
  std::uint64_t seconds = 0;
  std::uint64_t packets_lost = 0;
  std::string blind{};  ///< why the connections that stood could not be asked for; empty: they were
};

/// Node and Application documents (YAML) for what was seen; what the user must fill in is said in comments. `epif plan -f` reads
/// them. Stable: equal records give equal bytes. Pure.
[[nodiscard]] std::string draft(const Record& record, const Observer& observer);

/// A name of the resources' alphabet, at most 63 bytes, made of `text`.
[[nodiscard]] std::string resource_name(std::string_view text);
/// The direction in which most bytes went: push or pull if it is clear, else both.
[[nodiscard]] DataDirection direction_of(const FlowSeen& seen);

}  // namespace epif::observe
