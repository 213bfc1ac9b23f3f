#include <linux/if_xdp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstring>

#include "base/fd.h"
#include "base/limits.h"
#include "leak/ways.h"

// AF_XDP in copy mode (linux Documentation/networking/af_xdp.rst): frames go from user memory straight to the driver.
namespace epif::leak {
namespace {

constexpr std::uint32_t frame_bytes = 2048;
constexpr std::uint32_t ring_entries = batch;
constexpr int kicks = 50;
constexpr int kick_wait_ms = 4;

/// Memory that is unmapped at the end.
class Mapping {
 public:
  Mapping(std::size_t length, int protection, int flags, int fd, off_t offset)
      : at_(::mmap(nullptr, length, protection, flags, fd, offset)), length_(length) {}
  ~Mapping() {
    if (*this) ::munmap(at_, length_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  explicit operator bool() const { return at_ != MAP_FAILED; }
  template <class T>
  [[nodiscard]] T* at(std::uint64_t offset) const {
    return static_cast<T*>(static_cast<void*>(static_cast<std::uint8_t*>(at_) + offset));
  }

 private:
  void* at_;
  std::size_t length_;
};

Attempt failed(std::string_view step) {
  const auto error = errno;
  if (error == EPERM || error == EACCES) return refused(error);
  return impossible(std::string(step) + ": " + std::strerror(error));
}

bool set(const Fd& socket, int option, std::uint32_t value) {
  return ::setsockopt(socket.get(), SOL_XDP, option, &value, sizeof value) == 0;
}

/// The kernel frees a device's queue some time after the socket before us was closed.
bool bind_when_free(const Fd& socket, const sockaddr_xdp& address) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limits::leak_control_patience_ms);
  for (;;) {
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
    if (errno != EBUSY || std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, kick_wait_ms);
  }
}

/// Fills the transmit ring with frames that lie in `memory` already, and pushes until the driver has taken all.
Attempt transmit(const Fd& socket, std::uint32_t length) {
  xdp_mmap_offsets offsets{};
  socklen_t size = sizeof offsets;
  if (::getsockopt(socket.get(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) != 0) return failed("XDP_MMAP_OFFSETS");
  const Mapping sending(offsets.tx.desc + ring_entries * sizeof(xdp_desc), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                        socket.get(), XDP_PGOFF_TX_RING);
  const Mapping done(offsets.cr.desc + ring_entries * sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                     socket.get(), static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING));
  if (!sending || !done) return failed("mmap of the rings");
  auto* descriptors = sending.at<xdp_desc>(offsets.tx.desc);
  for (std::uint32_t i = 0; i < ring_entries; ++i) descriptors[i] = {std::uint64_t{i} * frame_bytes, length, 0};
  std::atomic_ref(*sending.at<std::uint32_t>(offsets.tx.producer)).store(ring_entries, std::memory_order_release);
  const std::atomic_ref completed(*done.at<std::uint32_t>(offsets.cr.producer));
  for (int i = 0; i < kicks && completed.load(std::memory_order_acquire) < ring_entries; ++i) {
    if (::sendto(socket.get(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOBUFS) {
      return failed("send");
    }
    if (completed.load(std::memory_order_acquire) >= ring_entries) break;
    pollfd ready{socket.get(), POLLOUT, 0};
    ::poll(&ready, 1, kick_wait_ms);
  }
  const auto taken = completed.load(std::memory_order_acquire);
  return taken >= ring_entries ? Attempt{} : impossible("the driver took " + std::to_string(taken) + " of the frames");
}

}  // namespace

Attempt send_by_xdp(const Probe& probe, ByteSpan frame) {
  const Fd socket(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!socket) return impossible("no AF_XDP sockets: the kernel has none, or this program may not open them");
  const Mapping memory(std::size_t{frame_bytes} * ring_entries, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!memory) return failed("mmap");
  for (std::uint32_t i = 0; i < ring_entries; ++i) std::memcpy(memory.at<std::uint8_t>(std::uint64_t{i} * frame_bytes), frame.data(), frame.size());
  xdp_umem_reg area{};
  area.addr = reinterpret_cast<std::uint64_t>(memory.at<std::uint8_t>(0));
  area.len = std::uint64_t{frame_bytes} * ring_entries;
  area.chunk_size = frame_bytes;
  if (::setsockopt(socket.get(), SOL_XDP, XDP_UMEM_REG, &area, sizeof area) != 0) return failed("XDP_UMEM_REG");
  if (!set(socket, XDP_UMEM_FILL_RING, ring_entries) || !set(socket, XDP_UMEM_COMPLETION_RING, ring_entries) ||
      !set(socket, XDP_TX_RING, ring_entries)) {
    return failed("rings");
  }
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_COPY;
  address.sxdp_ifindex = probe.device.index;
  address.sxdp_queue_id = 0;
  if (!bind_when_free(socket, address)) return failed("bind to " + probe.device.name);
  return transmit(socket, static_cast<std::uint32_t>(frame.size()));
}

}  // namespace epif::leak
