#pragma once
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/ip.h"

namespace epif::association {

/// Ports that UDP associations keep as counterparts of their own (SOCKS6 Port Parity option, draft-12 section 7.1.9), each a
/// bound socket. Thread-safe; asked once an association. Outlives its reservations.
class PortReservations {
 public:
  /// Keeps a port until destroyed, or until its owner has claimed it. Move only.
  class Held {
   public:
    Held() = default;
    Held(Held&& other) noexcept : all_(std::exchange(other.all_, nullptr)), number_(other.number_) {}
    Held& operator=(Held&& other) noexcept {
      if (this != &other) {
        release();
        all_ = std::exchange(other.all_, nullptr);
        number_ = other.number_;
      }
      return *this;
    }
    ~Held() { release(); }
    [[nodiscard]] explicit operator bool() const { return all_ != nullptr; }

   private:
    friend class PortReservations;
    void release();
    PortReservations* all_ = nullptr;
    std::uint64_t number_ = 0;
  };

  /// `owner`: the session that the association belongs to, else who the client is.
  [[nodiscard]] Held keep(Fd socket, const SocketAddress& bound, std::string owner);
  /// The kept socket of this port, if `owner` kept it; the reservation ends with that. `wanted.ip` may be any address.
  [[nodiscard]] std::optional<Fd> claim(const SocketAddress& wanted, const std::string& owner);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Kept {
    Fd socket;
    SocketAddress bound;
    std::string owner;
  };
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Kept> kept_;
  std::uint64_t next_ = 1;
};

}  // namespace epif::association
