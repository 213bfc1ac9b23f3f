#include "association/port_reservations.h"

namespace epif::association {

void PortReservations::Held::release() {
  if (all_ == nullptr) return;
  const std::lock_guard lock(all_->mutex_);
  all_->kept_.erase(number_);
  all_ = nullptr;
}

PortReservations::Held PortReservations::keep(Fd socket, const SocketAddress& bound, std::string owner) {
  const std::lock_guard lock(mutex_);
  Held held;
  held.all_ = this;
  held.number_ = next_++;
  kept_.emplace(held.number_, Kept{std::move(socket), bound, std::move(owner)});
  return held;
}

std::optional<Fd> PortReservations::claim(const SocketAddress& wanted, const std::string& owner) {
  const std::lock_guard lock(mutex_);
  for (auto at = kept_.begin(); at != kept_.end(); ++at) {
    const auto& kept = at->second;
    const bool fits = kept.bound.port == wanted.port && (wanted.ip.is_any() || wanted.ip == kept.bound.ip);
    if (!fits || kept.owner != owner) continue;
    auto socket = std::move(at->second.socket);
    kept_.erase(at);
    return socket;
  }
  return std::nullopt;
}

std::size_t PortReservations::size() const {
  const std::lock_guard lock(mutex_);
  return kept_.size();
}

}  // namespace epif::association
