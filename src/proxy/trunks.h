#pragma once
#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "base/ip.h"
#include "model/route.h"
#include "net/trunk.h"
#include "socks/trunk_option.h"

namespace epif::proxy {

using TrunkToken = std::array<std::uint8_t, socks6::trunk_token_bytes>;

/// The trunks of all threads by their tokens, so that a connection which arrives at one thread finds a stream of another.
/// Thread-safe. A token is a secret between both ends of its trunk, and of use to the same client only.
class Trunks {
 public:
  /// Where a trunk is. The trunk itself is touched on its loop's thread only.
  struct Place {
    net::Loop* loop = nullptr;
    std::weak_ptr<net::Trunk> trunk{};
    Identity identity{};  ///< of its client
    IpAddress client{};
  };

  /// A new token. Errors: internal (no random bytes).
  [[nodiscard]] Result<TrunkToken> add(Place place);
  void set(const TrunkToken& token, std::weak_ptr<net::Trunk> trunk);
  void remove(const TrunkToken& token);
  /// Error `denied`: there is no such trunk, or it is another client's.
  [[nodiscard]] Result<Place> find(const TrunkToken& token, const Identity& identity, const IpAddress& client) const;

 private:
  mutable std::mutex mutex_;
  std::map<TrunkToken, Place> places_;
};

}  // namespace epif::proxy
