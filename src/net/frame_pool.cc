#include "net/frame_pool.h"

#include <array>
#include <new>
#include <utility>

#include "base/limits.h"

namespace epif::net {
namespace {

constexpr std::size_t step = 64;
constexpr std::size_t largest = 4096;

struct Free {
  Free* next;
};

/// The sizes' free frames of one thread, each a list through the frames themselves. Without a destructor: frames may end later than
/// the thread's other objects.
struct Shelves {
  std::array<Free*, largest / step> of_size{};
  std::size_t held = 0;
  enum class Stage { unused, open, closed } stage = Stage::unused;
};

constinit thread_local Shelves shelves;

/// Gives all back at the thread's end; what it frees from then on goes back at once.
struct Closing {
  ~Closing() {
    shelves.stage = Shelves::Stage::closed;
    for (auto*& first : shelves.of_size) {
      for (auto* free = std::exchange(first, nullptr); free != nullptr;) ::operator delete(std::exchange(free, free->next));
    }
  }
};

void open_shelves() {
  static thread_local const Closing closing;
  static_cast<void>(closing);
  shelves.stage = Shelves::Stage::open;
}

constexpr std::size_t shelf(std::size_t bytes) { return (bytes - 1) / step; }

}  // namespace

void* FramePool::take(std::size_t bytes) {
  if (!pools || bytes > largest) return ::operator new(bytes);
  auto*& first = shelves.of_size[shelf(bytes)];
  const auto whole = (shelf(bytes) + 1) * step;
  if (first == nullptr) return ::operator new(whole);
  shelves.held -= whole;
  return std::exchange(first, first->next);
}

void FramePool::give(void* memory, std::size_t bytes) noexcept {
  const auto whole = (shelf(bytes) + 1) * step;
  if (pools && shelves.stage == Shelves::Stage::unused) open_shelves();
  if (!pools || bytes > largest || shelves.stage != Shelves::Stage::open || shelves.held + whole > limits::frame_pool_bytes) {
    ::operator delete(memory);
    return;
  }
  auto*& first = shelves.of_size[shelf(bytes)];
  first = ::new (memory) Free{first};
  shelves.held += whole;
}

std::size_t FramePool::held() { return shelves.held; }

}  // namespace epif::net
