#include "base/spelling.h"

#include <algorithm>
#include <utility>

namespace epif {

bool is_near(std::string_view left, std::string_view right) {
  if (left.size() > right.size()) std::swap(left, right);
  if (right.size() < 3) return false;
  if (right.size() - left.size() > 1) return false;
  const auto [a, b] = std::ranges::mismatch(left, right);
  const auto left_rest = left.substr(static_cast<std::size_t>(a - left.begin()));
  const auto right_rest = right.substr(static_cast<std::size_t>(b - right.begin()));
  if (right_rest.empty()) return true;
  const auto swapped = left.size() == right.size() && left_rest.size() > 1 && left_rest[0] == right_rest[1] &&
                       left_rest[1] == right_rest[0] && left_rest.substr(2) == right_rest.substr(2);
  return swapped || left_rest == right_rest.substr(1) ||
         (left.size() == right.size() && left_rest.substr(1) == right_rest.substr(1));
}

std::string_view near_word(std::string_view word, const std::vector<std::string_view>& known) {
  for (const auto other : known) {
    if (is_near(word, other)) return other;
  }
  std::string_view only;
  for (const auto other : known) {
    if (word.size() < 3 || !other.starts_with(word)) continue;
    if (!only.empty()) return {};
    only = other;
  }
  return only;
}

}  // namespace epif
