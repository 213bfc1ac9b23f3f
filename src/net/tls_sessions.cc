#include "net/tls_sessions.h"

#include <openssl/ssl.h>

#include "base/limits.h"

namespace epif::net {

TlsSessions::~TlsSessions() {
  for (const auto& [name, kept] : by_name_) ::SSL_SESSION_free(kept.session);
}

void TlsSessions::remember(const std::string& name, ssl_session_st* session) {
  const std::lock_guard lock(mutex_);
  if (const auto known = by_name_.find(name); known != by_name_.end()) remove(known);
  if (by_name_.size() >= limits::tls_sessions_max) remove(by_name_.find(oldest_first_.front()));
  by_name_.emplace(name, Kept{session, oldest_first_.insert(oldest_first_.end(), name)});
}

ssl_session_st* TlsSessions::copy(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto known = by_name_.find(name);
  // A copy, since OpenSSL writes into the session that a connection uses, and spoils it where that ends without close_notify.
  return known == by_name_.end() ? nullptr : ::SSL_SESSION_dup(known->second.session);
}

void TlsSessions::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (const auto known = by_name_.find(name); known != by_name_.end()) remove(known);
}

void TlsSessions::remove(ByName::iterator kept) {
  ::SSL_SESSION_free(kept->second.session);
  oldest_first_.erase(kept->second.age);
  by_name_.erase(kept);
}

}  // namespace epif::net
