#pragma once
#include <optional>

#include "admission/conversation.h"
#include "bridge/chain.h"
#include "bridge/hpke.h"
#include "model/routing.h"
#include "onward/next_hop.h"

namespace epif::proxy {

/// The keys of one connection's pairs (architecture.md rule 7), and what the next proxy needs to derive the same ones.
struct ConnectionKeys {
  bridge::PairKeys keys;
  std::vector<admission::ClientRequest::Encapsulation> for_next;
};

/// For every pair label in the route's chain: the proxy before us sent an encapsulation, so we are the far half and derive the
/// key from it; or it did not, so we are the near half and encapsulate a fresh one for the next proxy. On a leg without
/// certificates the identities bound into the key are empty on both sides. `own` may be null if no chain needs it.
/// Errors: bf_failed, naming what lacks: our key, the next proxy's, or that of the proxy before.
[[nodiscard]] Result<ConnectionKeys> connection_keys(const Route& route, const Identity& own_identity,
                                                     const Identity& client_identity, const admission::ClientRequest& request,
                                                     const hpke::KeyPair* own);

}  // namespace epif::proxy
