#include "net/memory_trim.h"

#include <malloc.h>

#include "base/limits.h"

namespace epif::net {

MemoryTrim::MemoryTrim(Loop& loop, std::function<std::uint64_t()> handshakes) : loop_(loop), handshakes_(std::move(handshakes)) {
  look();
}

void MemoryTrim::look() {
  const auto now = handshakes_();
  const bool quiet = now == seen_;
  const auto since = now >= trimmed_at_ ? now - trimmed_at_ : now;  // a renewed certificate counts from zero
  seen_ = now;
  if (quiet && since >= limits::memory_trim_handshakes) {
    ::malloc_trim(0);
    trimmed_at_ = now;
  }
  timer_ = loop_.after(std::chrono::milliseconds(limits::memory_trim_look_ms), [this] { look(); });
}

}  // namespace epif::net
