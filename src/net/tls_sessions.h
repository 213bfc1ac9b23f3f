#pragma once
#include <map>
#include <mutex>
#include <string>

// OpenSSL's own name, so that its headers stay in the .cc files.
struct ssl_session_st;

namespace epif::net {

/// What a client keeps of its TLS 1.3 sessions, so that later handshakes with the same peer need no certificate signatures
/// (RFC 8446 section 2.2; with a new key exchange, so that forward secrecy holds). One session for each peer, the latest; it
/// serves many connections. Any thread.
class TlsSessions {
 public:
  TlsSessions() = default;
  ~TlsSessions();
  TlsSessions(const TlsSessions&) = delete;
  TlsSessions& operator=(const TlsSessions&) = delete;

  /// Takes over `session`. Beyond limits::tls_sessions_max peers nothing new is kept.
  void remember(const std::string& peer, ssl_session_st* session);
  /// A copy for one connection, the caller's to free; null if there is none.
  [[nodiscard]] ssl_session_st* copy(const std::string& peer) const;
  void forget(const std::string& peer);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, ssl_session_st*> by_peer_;
};

}  // namespace epif::net
