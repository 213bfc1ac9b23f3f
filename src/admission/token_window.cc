#include "admission/token_window.h"

#include <cassert>
#include <utility>

namespace epif::admission {

TokenWindow::TokenWindow(std::uint32_t base, std::uint32_t size) : base_(base), spent_(size) {
  assert(size > 0 && size < (1u << 31));
}

TokenWindow::TokenWindow(std::uint32_t base, std::vector<bool> spent) : base_(base), spent_(std::move(spent)) {
  assert(!spent_.empty() && spent_.size() < (1u << 31));
}

std::vector<bool> TokenWindow::spent() const {
  std::vector<bool> made(spent_.begin() + static_cast<std::ptrdiff_t>(start_), spent_.end());
  made.insert(made.end(), spent_.begin(), spent_.begin() + static_cast<std::ptrdiff_t>(start_));
  return made;
}

void TokenWindow::move_up() {
  spent_[start_] = false;  // now the place of the highest token, which nobody has spent
  start_ = (start_ + 1) % spent_.size();
  ++base_;
}

bool TokenWindow::spend(std::uint32_t token) {
  const std::uint32_t offset = token - base_;  // modulo 2^32: a token below the base is a large offset
  if (offset >= size()) return false;
  auto place = spent_[(start_ + offset) % spent_.size()];
  if (place) return false;
  place = true;
  const std::uint32_t room_above = size() - 1 - offset;
  const std::uint32_t wanted = size() / 4;
  for (std::uint32_t i = room_above; i < wanted; ++i) move_up();
  for (std::uint32_t i = 0; i < size() && spent_[start_]; ++i) move_up();
  return true;
}

}  // namespace epif::admission
