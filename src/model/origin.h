#pragma once
#include <string>

namespace epif {

/// Where a thing was written, for messages. Line and column count from 1; 0 is unknown. It is no part of what a thing
/// says, so two things that differ only in it compare equal.
struct Origin {
  std::string file;
  int line = 0;
  int column = 0;

  /// "file:line:column", without the parts that are unknown.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Origin&, const Origin&) { return true; }
};

}  // namespace epif
