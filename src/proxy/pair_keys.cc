#include "proxy/pair_keys.h"

#include <fmt/format.h>

namespace epif::proxy {
namespace {

const admission::ClientRequest::Encapsulation* sent_for(const admission::ClientRequest& request, const std::string& pair) {
  for (const auto& one : request.encapsulations) {
    if (one.pair == pair) return &one;
  }
  return nullptr;
}

/// The public key of the proxy before us: by its certificate's identity, or the only one listed on a leg in clear.
Result<hpke::PublicKey> key_of_peer(const Route& route, const Identity& client_identity) {
  auto found = route.peer_keys.find(client_identity);
  if (client_identity.empty() && route.peer_keys.size() == 1) found = route.peer_keys.begin();
  if (found == route.peer_keys.end()) {
    return fail(Code::bf_failed, fmt::format("route {} lists no key of the proxy before", route.id), {}, client_identity);
  }
  return hpke::parse_public_key(found->second);
}

Result<hpke::Secret> derive(const Route& route, const Identity& own_identity, const Identity& client_identity,
                            const admission::ClientRequest::Encapsulation& sent, const hpke::KeyPair& own) {
  const auto sender = key_of_peer(route, client_identity);
  if (!sender) return fail(sender.error());
  const bool certified = !client_identity.empty();
  const auto info = hpke::connection_info(route.id, client_identity, certified ? own_identity : Identity{}, route.purpose);
  return hpke::decapsulate(sent.key, own, *sender, info);
}

Result<hpke::Encapsulated> encapsulate(const Route& route, const Identity& own_identity, const hpke::KeyPair& own) {
  if (!route.next || route.next->public_key.empty()) {
    return fail(Code::bf_failed, fmt::format("route {} has half of a pair and no key of the proxy with the other", route.id));
  }
  const auto recipient = hpke::parse_public_key(route.next->public_key);
  if (!recipient) return fail(recipient.error());
  const bool certified = !route.next->identity.empty();
  const auto info =
      hpke::connection_info(route.id, certified ? own_identity : Identity{}, route.next->identity, route.purpose);
  return hpke::encapsulate(*recipient, own, info);
}

}  // namespace

Result<ConnectionKeys> connection_keys(const Route& route, const Identity& own_identity, const Identity& client_identity,
                                       const admission::ClientRequest& request, const hpke::KeyPair* own) {
  ConnectionKeys made;
  for (const auto& link : route.chain) {
    if (link.key_pair.empty() || made.keys.contains(link.key_pair)) continue;
    if (own == nullptr) {
      return fail(Code::bf_failed, fmt::format("route {} needs a key of this proxy", route.id), {}, {}, "start it with --hpke-key");
    }
    if (const auto* sent = sent_for(request, link.key_pair)) {
      auto key = derive(route, own_identity, client_identity, *sent, *own);
      if (!key) return fail(std::move(key.error()));
      made.keys.emplace(link.key_pair, std::move(*key));
    } else {
      auto fresh = encapsulate(route, own_identity, *own);
      if (!fresh) return fail(std::move(fresh.error()));
      made.for_next.push_back({link.key_pair, fresh->enc});
      made.keys.emplace(link.key_pair, std::move(fresh->key));
    }
  }
  return made;
}

}  // namespace epif::proxy
