#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "net/cancel.h"
#include "net/stream.h"
#include "net/tls_sessions.h"

// OpenSSL's own names, so that its headers stay in the .cc files.
struct ssl_ctx_st;
struct ssl_st;

namespace epif::net {

/// PEM files of one side of mutual TLS.
struct TlsFiles {
  std::string certificate;  ///< chain, leaf first
  std::string key;
  std::string authority;    ///< CA that the peer's certificate must chain to
  bool resume = true;       ///< sessions are kept and resumed; false: each handshake shows and checks certificates
};

/// TLS 1.3 only, certificates required and checked on both sides. Share between threads. Connections of one pair of contexts
/// resume each other's sessions; a session ends with either context, and after limits::tls_session_life_s.
class TlsContext : public std::enable_shared_from_this<TlsContext> {
 public:
  /// Errors: not_found, invalid_input (names the file; a key that does not fit its certificate).
  [[nodiscard]] static Result<std::shared_ptr<TlsContext>> server(const TlsFiles& files);
  [[nodiscard]] static Result<std::shared_ptr<TlsContext>> client(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  [[nodiscard]] ssl_ctx_st* native() const { return context_; }
  [[nodiscard]] TlsSessions& sessions() const { return sessions_; }
  [[nodiscard]] std::uint64_t handshakes() const { return handshakes_; }  ///< that succeeded

 private:
  explicit TlsContext(ssl_ctx_st* context);
  ssl_ctx_st* context_;
  friend class TlsStream;
  mutable TlsSessions sessions_;
  mutable std::atomic<std::uint64_t> handshakes_ = 0;
};

/// TLS over a TCP socket that it owns.
class TlsStream final : public Stream {
 public:
  /// Hand-shakes as server or client. `to`: where the socket leads, perhaps with its SYN still to leave; sessions are kept by it.
  /// `expected_identity`: what the peer's certificate must name ("domain/node"); empty accepts any certificate of the authority.
  /// Errors: unauthenticated, protocol, reset, timeout; those of connect() if the SYN has waited for this.
  [[nodiscard]] static Task<Result<std::unique_ptr<TlsStream>>> accept(std::unique_ptr<SocketStream> socket,
                                                                       const TlsContext& context, TimePoint deadline);
  [[nodiscard]] static Task<Result<std::unique_ptr<TlsStream>>> connect(std::unique_ptr<SocketStream> socket,
                                                                        SocketAddress to, const TlsContext& context,
                                                                        std::string expected_identity, TimePoint deadline,
                                                                        Cancel* cancel = nullptr);
  ~TlsStream() override;

  /// Identity in the peer's certificate: its URI SAN "epif://domain/node" without the scheme. Never empty after a handshake.
  [[nodiscard]] const std::string& peer_identity() const { return identity_; }
  /// When the peer's certificate ends.
  [[nodiscard]] std::chrono::sys_seconds peer_certificate_end() const;
  /// True if the handshake resumed an earlier session.
  [[nodiscard]] bool resumed() const;
  /// Under which name this client's sessions are kept; empty at a server.
  [[nodiscard]] const std::string& resumes() const { return resumes_; }

  Io read_some(MutableByteSpan into) override;
  Io write_some(ByteSpan from, bool last = false) override;
  Io end_write() override;
  void abort(Error why) override;
  int clear_socket() const override { return -1; }
  Mover leave_loop() override;

 private:
  TlsStream(Loop& loop, Fd fd, ssl_st* session) : Stream(loop, std::move(fd)), session_(session) {}
  [[nodiscard]] static Task<Result<std::unique_ptr<TlsStream>>> shake(std::unique_ptr<SocketStream> socket,
                                                                      const TlsContext& context, std::optional<SocketAddress> to,
                                                                      std::string expected_identity, TimePoint deadline,
                                                                      Cancel* cancel);
  void offer_session(const TlsContext& context, const SocketAddress& to, const std::string& expected_identity);
  [[nodiscard]] Io outcome(int result, bool reading);

  ssl_st* session_;
  std::string identity_;
  std::shared_ptr<const TlsContext> context_;  ///< of a client: tickets come after the handshake
  std::string resumes_;
  bool aborted_ = false;
};

}  // namespace epif::net
