#pragma once
#include <string_view>
#include <vector>

/// Help with a typo.
namespace epif {

/// Whether one of the words may be the other, misspelt: one letter more, less or else, or two neighbours swapped. Words of one
/// or two letters are near to nothing.
[[nodiscard]] bool is_near(std::string_view left, std::string_view right);

/// The first of `known` that is near to `word`, else the only one that begins with it (three letters at least); empty if none.
[[nodiscard]] std::string_view near_word(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace epif
