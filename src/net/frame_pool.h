#pragma once
#include <cstddef>

// clang's way to ask for a sanitizer; g++ has macros of its own.
#ifdef __has_feature
#define EPIF_HAS_FEATURE(what) __has_feature(what)
#else
#define EPIF_HAS_FEATURE(what) 0
#endif

namespace epif::net {

/// Memory of coroutine frames, kept by each thread for the next ones of the same size: a connection makes and frees a dozen, most
/// of them too large for the C library's own lists of a thread. At most limits::frame_pool_bytes a thread are kept.
class FramePool {
 public:
  /// A sanitizer shall see every frame's end: then all come from the C library.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || EPIF_HAS_FEATURE(address_sanitizer) || \
    EPIF_HAS_FEATURE(thread_sanitizer) || EPIF_HAS_FEATURE(memory_sanitizer)
  static constexpr bool pools = false;
#else
  static constexpr bool pools = true;
#endif
  [[nodiscard]] static void* take(std::size_t bytes);
  /// `bytes` as it was asked for. Any thread.
  static void give(void* memory, std::size_t bytes) noexcept;
  /// What this thread keeps now.
  [[nodiscard]] static std::size_t held();
};

/// For promises: their coroutines' frames come from the pool.
struct PooledFrame {
  static void* operator new(std::size_t bytes) { return FramePool::take(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept { FramePool::give(memory, bytes); }
};

}  // namespace epif::net
