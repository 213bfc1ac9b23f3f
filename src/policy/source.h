#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace epif::policy {

/// A piece of a policy text: byte offsets, end excluded.
struct Span {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

/// A policy text and the name that messages give it (a file, or "Policy/consent-research").
struct Source {
  std::string name;
  std::string text;
  std::uint32_t first_line = 1;    ///< where the text begins in the file `name`, when it is part of a larger document
  std::uint32_t first_column = 1;  ///< of every line: the indentation of a YAML block

  /// "name:line:column", both from 1, columns counted in characters.
  [[nodiscard]] std::string where(std::uint32_t offset) const;
  /// The text of `span` on one line, runs of white space as one blank, cut near 120 bytes.
  [[nodiscard]] std::string excerpt(Span span) const;
};

}  // namespace epif::policy
