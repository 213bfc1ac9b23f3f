#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/origin.h"

namespace epif {

/// A document before it means anything: scalars, sequences and maps, each with its place in the text. Map entries keep
/// the order and the repetitions of the text.
struct Tree {
  enum class Kind { null, scalar, sequence, map };
  struct Entry;

  Kind kind = Kind::null;
  std::string scalar;
  bool quoted = false;  ///< a scalar that can only be text
  int line = 0;         ///< from 1; 0 unknown
  int column = 0;
  std::vector<Tree> items;
  std::vector<Entry> entries;
};

struct Tree::Entry {
  std::string key;
  int line = 0;
  int column = 0;
  Tree value;
};

/// YAML documents of `text`; empty ones are left out. Refused: syntax errors, anchors, aliases, tags, keys that are not
/// scalars, more than `limits::document_depth` levels, more than `limits::document_max_bytes` bytes.
[[nodiscard]] Result<std::vector<Tree>> parse_yaml(std::string_view text, std::string_view file);

/// Strict JSON (RFC 8259), one value. Errors of syntax name line and column; content carries lines only.
[[nodiscard]] Result<Tree> parse_json(std::string_view text, std::string_view file, std::size_t max_bytes);

}  // namespace epif
