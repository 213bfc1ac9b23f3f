#include "net/tls_sessions.h"

#include <openssl/ssl.h>

#include "base/limits.h"

namespace epif::net {

TlsSessions::~TlsSessions() {
  for (const auto& [peer, session] : by_peer_) ::SSL_SESSION_free(session);
}

void TlsSessions::remember(const std::string& peer, ssl_session_st* session) {
  const std::lock_guard lock(mutex_);
  const auto known = by_peer_.find(peer);
  if (known != by_peer_.end()) {
    ::SSL_SESSION_free(std::exchange(known->second, session));
  } else if (by_peer_.size() < limits::tls_sessions_max) {
    by_peer_.emplace(peer, session);
  } else {
    ::SSL_SESSION_free(session);
  }
}

ssl_session_st* TlsSessions::copy(const std::string& peer) const {
  const std::lock_guard lock(mutex_);
  const auto known = by_peer_.find(peer);
  // A copy, since OpenSSL writes into the session that a connection uses, and spoils it where that ends without close_notify.
  return known == by_peer_.end() ? nullptr : ::SSL_SESSION_dup(known->second);
}

void TlsSessions::forget(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  const auto known = by_peer_.find(peer);
  if (known == by_peer_.end()) return;
  ::SSL_SESSION_free(known->second);
  by_peer_.erase(known);
}

}  // namespace epif::net
