#pragma once
#include <cstdint>
#include <vector>

namespace epif::admission {

/// The idempotence tokens of one session (draft-12, section "Idempotence options"): numbers modulo 2^32, of which `size`
/// from `base` on may be spent, each once. A token that left the window at its low end can never be spent again. Not
/// thread-safe.
class TokenWindow {
 public:
  /// `size` is 1 .. 2^31 - 1.
  TokenWindow(std::uint32_t base, std::uint32_t size);
  /// One that has been in use: which tokens are spent, from `base` on. As many as a window may have.
  TokenWindow(std::uint32_t base, std::vector<bool> spent);

  /// True if the token was in the window and unspent; it is spent then. The window moves past spent tokens at its low end,
  /// and as far as needed to keep its upper quarter free of spent ones: a token that never comes must not hold it up.
  [[nodiscard]] bool spend(std::uint32_t token);

  [[nodiscard]] std::uint32_t base() const { return base_; }
  /// From the lowest token on.
  [[nodiscard]] std::vector<bool> spent() const;
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(spent_.size()); }

 private:
  void move_up();
  std::uint32_t base_;
  std::size_t start_ = 0;    ///< where the lowest token stands in the ring
  std::vector<bool> spent_;  ///< a ring
};

}  // namespace epif::admission
