#include "proxy/trunks.h"

#include <openssl/rand.h>

namespace epif::proxy {

Result<TrunkToken> Trunks::add(Place place) {
  TrunkToken token{};
  if (::RAND_bytes(token.data(), static_cast<int>(token.size())) != 1) return fail(Code::internal, "no random bytes for a trunk's token");
  const std::lock_guard lock(mutex_);
  places_.emplace(token, std::move(place));
  return token;
}

void Trunks::set(const TrunkToken& token, std::weak_ptr<net::Trunk> trunk) {
  const std::lock_guard lock(mutex_);
  places_.at(token).trunk = std::move(trunk);
}

void Trunks::remove(const TrunkToken& token) {
  const std::lock_guard lock(mutex_);
  places_.erase(token);
}

Result<Trunks::Place> Trunks::find(const TrunkToken& token, const Identity& identity, const IpAddress& client) const {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(token);
  const bool ours = found != places_.end() && found->second.identity == identity && (!identity.empty() || found->second.client == client);
  if (!ours) return fail(Code::denied, "there is no such trunk of this client");
  return found->second;
}

}  // namespace epif::proxy
