#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/pki.h"
#include "base/error.h"
#include "store/store.h"

/// Client of the orchestrator's API: synchronous calls, each with a deadline, over TLS 1.3 with a pinned CA.
namespace epif::api {

struct ClientOptions {
  std::string url;                        ///< "https://host:port", or "unix:/path" of a Unix socket
  TlsIdentity tls{};                      ///< authority required for https; certificate and key for agents
  std::string token{};                    ///< user's bearer token; empty: none. A secret.
  std::chrono::milliseconds deadline{};   ///< per call; zero: limits::api_deadline_ms
};

struct Answer {
  int status = 0;
  std::string body;
};

/// One keep-alive connection, made on first use and again when it broke. One thread at a time.
class Client {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Client>> make(ClientOptions options);
  virtual ~Client() = default;

  /// One request. Any HTTP answer is a success here; errors are those of the way there: refused, host_unreachable, timeout,
  /// unauthenticated (the server's certificate is not of our CA, or it refused ours), reset.
  [[nodiscard]] virtual Result<Answer> call(std::string_view method, std::string_view target, std::string_view body = {},
                                            std::string_view content_type = "application/json") = 0;

  /// Like call, and an answer of 4xx/5xx becomes its Error (code, what, where, why, advice as the server stated them).
  [[nodiscard]] Result<std::string> request(std::string_view method, std::string_view target, std::string_view body = {},
                                            std::string_view content_type = "application/json");

  // The Store's words over the wire (src/store/store.h).
  [[nodiscard]] Result<store::Record> get(std::string_view kind, std::string_view name);
  [[nodiscard]] Result<store::Listing> list(std::string_view kind);
  /// `document`: one resource as JSON {apiVersion, kind, metadata, spec}. Returns what is stored then.
  [[nodiscard]] Result<store::Record> put(std::string_view kind, std::string_view name, std::string_view document,
                                          std::optional<store::Revision> expected = {});
  [[nodiscard]] Result<store::Record> put_status(std::string_view kind, std::string_view name, std::string_view status,
                                                 std::optional<store::Revision> expected = {});
  [[nodiscard]] Result<> remove(std::string_view kind, std::string_view name);
};

/// Calls for a Watch's owner, all on the watch's thread.
struct WatchCalls {
  /// The whole picture: at the start, and whenever history was too old to go on from. Replaces what was known before.
  std::function<void(const store::Listing&)> listed;
  std::function<void(const store::Event&)> changed;
  /// Connection state, for logs and status: an error when it broke, nothing when it works (again).
  std::function<void(const std::optional<Error>&)> connection = {};
};

/// Follows one kind from a thread of its own: list, then events from that revision; reconnects with growing pauses (100 ms
/// to 5 s) and goes on where it was, so that nothing is lost. Notices a dead server by missing heartbeats. Destruction
/// stops and joins within one second.
class Watch {
 public:
  /// `name`: only this resource; empty: all that the caller may read.
  Watch(ClientOptions options, std::string kind, std::string name, WatchCalls calls);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  class Run;
  std::unique_ptr<Run> run_;
};

/// What a host holds after it joined: its key (made here, never sent), certificate and CA. Paths inside `folder`:
/// node.key (0600), node.crt, ca.crt.
struct Membership {
  std::string identity;  ///< "domain/node"
  TlsIdentity tls;
};
/// Joins: checks the server's chain against the CA fingerprint in `token` before the secret is sent, posts a certificate
/// request to /v1/join, writes `folder` (made if missing, 0700). Nothing is written if any step fails.
[[nodiscard]] Result<Membership> join(const std::string& url, std::string_view token, std::string_view identity,
                                      const std::string& folder);
/// Reads what join wrote; not_found if the host has not joined.
[[nodiscard]] Result<Membership> open_membership(const std::string& folder);
/// A new certificate for the same key, before the old one ends: POST /v1/renew as this member, then node.crt is replaced.
[[nodiscard]] Result<Membership> renew(const std::string& url, const Membership& member, const std::string& folder);

}  // namespace epif::api
