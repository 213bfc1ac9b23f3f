#pragma once
#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"

/// Small tools of the codecs: a bounded writer, a list of fixed capacity and a view that compares. Nothing here allocates.
namespace epif::socks {

/// Bytes to add to `length` to reach a multiple of 4.
[[nodiscard]] constexpr std::size_t padding_to_4(std::size_t length) {
  return (4 - length % 4) % 4;
}

/// Appends to a caller's span. Past its end it only counts, and `finish` answers 0.
class Writer {
 public:
  explicit Writer(MutableByteSpan out) : out_(out) {}

  void u8(std::uint8_t value) {
    if (size_ < out_.size()) out_[size_] = value;
    ++size_;
  }
  void u16(std::uint16_t value) {
    u8(static_cast<std::uint8_t>(value >> 8));
    u8(static_cast<std::uint8_t>(value));
  }
  void u32(std::uint32_t value) {
    u16(static_cast<std::uint16_t>(value >> 16));
    u16(static_cast<std::uint16_t>(value));
  }
  void bytes(ByteSpan from) {
    if (size_ + from.size() <= out_.size()) std::ranges::copy(from, out_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += from.size();
  }
  void text(std::string_view from) { bytes(as_bytes(from)); }
  void zeros(std::size_t count) {
    while (count-- > 0) u8(0);
  }
  /// Writes a length that was not known before: overwrites two bytes at `position`.
  void patch_u16(std::size_t position, std::size_t value) {
    assert(value <= 0xffff);
    if (position + 2 <= std::min(size_, out_.size())) store_u16(&out_[position], static_cast<std::uint16_t>(value));
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Bytes written; 0 if they did not fit.
  [[nodiscard]] std::size_t finish() const { return size_ <= out_.size() ? size_ : 0; }

 private:
  MutableByteSpan out_;
  std::size_t size_ = 0;
};

/// A view of a message's bytes. Unlike a span it compares, by content, so that messages can default their comparison.
class View : public ByteSpan {
 public:
  using ByteSpan::ByteSpan;
  View(ByteSpan bytes) : ByteSpan(bytes) {}  // implicit: it is one
  friend bool operator==(const View& left, const View& right) { return std::ranges::equal(left, right); }
};

/// A list of at most `capacity` values, in place.
template <class Value, std::size_t capacity>
class InlineList {
 public:
  /// False, and nothing happens, when the list is full.
  bool push_back(const Value& value) {
    if (size_ == capacity) return false;
    values_[size_++] = value;
    return true;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] const Value* begin() const { return values_.data(); }
  [[nodiscard]] const Value* end() const { return values_.data() + size_; }
  [[nodiscard]] const Value& operator[](std::size_t index) const {
    assert(index < size_);
    return values_[index];
  }
  friend bool operator==(const InlineList& left, const InlineList& right) {
    return std::equal(left.begin(), left.end(), right.begin(), right.end());
  }

 private:
  std::array<Value, capacity> values_{};
  std::size_t size_ = 0;
};

}  // namespace epif::socks
