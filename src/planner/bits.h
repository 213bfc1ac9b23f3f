#pragma once
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
    const auto word = at / 64 - 1;
    if (high_.size() <= word) high_.resize(word + 1);
    high_[word] |= std::uint64_t{1} << (at % 64);
  }
  void reset(std::size_t at) {
    if (at < 64) {
      low_ &= ~(std::uint64_t{1} << at);
    } else if (const auto word = at / 64 - 1; word < high_.size()) {
      high_[word] &= ~(std::uint64_t{1} << (at % 64));
      trim();
    }
  }
  [[nodiscard]] bool empty() const { return low_ == 0 && high_.empty(); }
  [[nodiscard]] bool within(const Bits& other) const {
    if ((low_ & ~other.low_) != 0 || high_.size() > other.high_.size()) return false;
    for (std::size_t word = 0; word < high_.size(); ++word) {
      if ((high_[word] & ~other.high_[word]) != 0) return false;
    }
    return true;
  }
  [[nodiscard]] bool test(std::size_t at) const {
    if (at < 64) return (low_ >> at) & 1;
    const auto word = at / 64 - 1;
    return word < high_.size() && ((high_[word] >> (at % 64)) & 1) != 0;
  }
  Bits& operator|=(const Bits& other) {
    low_ |= other.low_;
    if (high_.size() < other.high_.size()) high_.resize(other.high_.size());
    for (std::size_t word = 0; word < other.high_.size(); ++word) high_[word] |= other.high_[word];
    return *this;
  }
  Bits& operator-=(const Bits& other) {
    low_ &= ~other.low_;
    for (std::size_t word = 0; word < high_.size() && word < other.high_.size(); ++word) high_[word] &= ~other.high_[word];
    trim();
    return *this;
  }
  [[nodiscard]] friend Bits operator|(Bits left, const Bits& right) { return left |= right; }
  [[nodiscard]] friend Bits operator-(Bits left, const Bits& right) { return left -= right; }
  friend bool operator==(const Bits&, const Bits&) = default;

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
