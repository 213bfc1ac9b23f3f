#pragma once
#include <list>
#include <map>
#include <mutex>
#include <string>

// OpenSSL's own name, so that its headers stay in the .cc files.
struct ssl_session_st;

namespace epif::net {

/// TLS 1.3 sessions for later handshakes, which need no certificate signatures then (RFC 8446 section 2.2; with a new key
/// exchange, so that forward secrecy holds). One serves many connections. Any thread.
///
/// A client keeps the latest session of each peer under the peer's name; a server all that it gave out, under their numbers, of
/// which its tickets hold nothing else. A ticket that held the session itself would have to be opened, and OpenSSL 3.0 takes
/// longer to read the certificate in it than for all the rest of the handshake.
class TlsSessions {
 public:
  TlsSessions() = default;
  ~TlsSessions();
  TlsSessions(const TlsSessions&) = delete;
  TlsSessions& operator=(const TlsSessions&) = delete;

  /// Takes over `session`. Beyond limits::tls_sessions_max the oldest goes.
  void remember(const std::string& name, ssl_session_st* session);
  /// A copy for one connection, the caller's to free; null if there is none.
  [[nodiscard]] ssl_session_st* copy(const std::string& name) const;
  void forget(const std::string& name);

 private:
  struct Kept {
    ssl_session_st* session;
    std::list<std::string>::iterator age;
  };
  using ByName = std::map<std::string, Kept>;
  void remove(ByName::iterator kept);

  mutable std::mutex mutex_;
  ByName by_name_;
  std::list<std::string> oldest_first_;
};

}  // namespace epif::net
