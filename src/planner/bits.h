#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace epif::planner {

/// A set of small numbers. Numbers below 64 live in one word without allocation; equal sets compare and hash equal.
class Bits {
 public:
  void set(std::size_t at) {
    if (at < 64) {
      low_ |= std::uint64_t{1} << at;
      return;
    }
    const auto slot = at / 64 - 1;
    if (high_.size() <= slot) high_.resize(slot + 1);
    high_[slot] |= std::uint64_t{1} << (at % 64);
  }
  void reset(std::size_t at) {
    if (at < 64) {
      low_ &= ~(std::uint64_t{1} << at);
    } else if (const auto slot = at / 64 - 1; slot < high_.size()) {
      high_[slot] &= ~(std::uint64_t{1} << (at % 64));
      trim();
    }
  }
  [[nodiscard]] bool empty() const { return low_ == 0 && high_.empty(); }
  [[nodiscard]] std::size_t size() const {
    auto sum = static_cast<std::size_t>(std::popcount(low_));
    for (const auto part : high_) sum += static_cast<std::size_t>(std::popcount(part));
    return sum;
  }
  [[nodiscard]] bool within(const Bits& other) const {
    if ((low_ & ~other.low_) != 0 || high_.size() > other.high_.size()) return false;
    for (std::size_t slot = 0; slot < high_.size(); ++slot) {
      if ((high_[slot] & ~other.high_[slot]) != 0) return false;
    }
    return true;
  }
  [[nodiscard]] bool test(std::size_t at) const {
    if (at < 64) return (low_ >> at) & 1;
    const auto slot = at / 64 - 1;
    return slot < high_.size() && ((high_[slot] >> (at % 64)) & 1) != 0;
  }
  Bits& operator|=(const Bits& other) {
    low_ |= other.low_;
    if (high_.size() < other.high_.size()) high_.resize(other.high_.size());
    for (std::size_t slot = 0; slot < other.high_.size(); ++slot) high_[slot] |= other.high_[slot];
    return *this;
  }
  Bits& operator-=(const Bits& other) {
    low_ &= ~other.low_;
    for (std::size_t slot = 0; slot < high_.size() && slot < other.high_.size(); ++slot) high_[slot] &= ~other.high_[slot];
    trim();
    return *this;
  }
  [[nodiscard]] friend Bits operator|(Bits left, const Bits& right) { return left |= right; }
  [[nodiscard]] friend Bits operator-(Bits left, const Bits& right) { return left -= right; }
  friend bool operator==(const Bits&, const Bits&) = default;

  /// Orders sets as their members in rising order would be ordered as words: {} < {0} < {0, 1} < {1}.
  [[nodiscard]] bool before(const Bits& other) const {
    const auto words = 1 + std::max(high_.size(), other.high_.size());
    for (std::size_t at = 0; at < words; ++at) {
      const auto difference = word(at) ^ other.word(at);
      if (difference == 0) continue;
      // The one with the first differing member has the smaller word there, unless the other has ended before it.
      const auto bit = static_cast<unsigned>(std::countr_zero(difference));
      const bool ours = ((word(at) >> bit) & 1) != 0;
      const auto& without = ours ? other : *this;
      const bool ended = (without.word(at) >> bit) == 0 && without.high_.size() <= at;
      return ours != ended;
    }
    return false;
  }

  /// Calls `visit` with each member in rising order.
  template <class Visit>
  void each(Visit visit) const {
    for (auto word = low_; word != 0; word &= word - 1) visit(static_cast<std::size_t>(std::countr_zero(word)));
    for (std::size_t at = 0; at < high_.size(); ++at) {
      for (auto word = high_[at]; word != 0; word &= word - 1) {
        visit((at + 1) * 64 + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }
  [[nodiscard]] std::size_t hash() const {
    auto sum = mix(low_);
    for (const auto word : high_) sum = mix(sum ^ word);
    return sum;
  }
  /// The finalizer of MurmurHash3: every input bit moves every output bit.
  [[nodiscard]] static std::uint64_t mix(std::uint64_t value) {
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdull;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53ull;
    return value ^ (value >> 33);
  }

 private:
  [[nodiscard]] std::uint64_t word(std::size_t at) const {
    if (at == 0) return low_;
    return at - 1 < high_.size() ? high_[at - 1] : 0;
  }
  void trim() {
    while (!high_.empty() && high_.back() == 0) high_.pop_back();
  }

  std::uint64_t low_ = 0;
  std::vector<std::uint64_t> high_;  ///< never ends in a zero word
};

struct BitsHash {
  [[nodiscard]] std::size_t operator()(const Bits& bits) const { return bits.hash(); }
};

}  // namespace epif::planner
