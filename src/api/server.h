#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "api/pki.h"
#include "base/error.h"
#include "base/ip.h"
#include "store/store.h"

/// HTTP/1.1 server for API and admin sockets: TLS 1.3 or Unix socket, keep-alive, bounded bodies, deadlines, server-sent
/// events. Handlers are plain blocking functions that run on a small pool of threads, several at once.
namespace epif::api {

/// Who asks. `local` is whoever may open the Unix socket (root of this host).
struct Caller {
  enum class Kind { anonymous, user, agent, local };
  Kind kind = Kind::anonymous;
  std::string name;  ///< user name, or an agent's certificate identity "domain/node"
  /// End of the token or certificate that says so: from then on nothing more is read with it. Absent: none.
  std::optional<std::chrono::sys_seconds> until{};

  [[nodiscard]] bool may_administer() const { return kind == Kind::user || kind == Kind::local; }
  [[nodiscard]] std::string text() const;  ///< "user alice", "agent umc/proxy", "anonymous", "local"
};

struct Request {
  std::string method;                            ///< "GET", "PUT", ...
  std::string path;                              ///< still percent-encoded, without the query
  std::map<std::string, std::string> parameters; ///< of the path pattern, decoded
  std::map<std::string, std::string> query;      ///< decoded; a repeated key keeps its last value
  std::string content_type;
  std::string if_match;                          ///< without quotes; empty if absent
  std::string body;                              ///< at most limits::document_max_bytes
  Caller caller;
};

struct Response {
  int status = 200;
  std::string body{};
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// One server-sent event. `id` is what a reader sends back as Last-Event-ID or ?since= to go on from here.
struct ServerEvent {
  std::string event;
  std::string id;
  std::string data;  ///< one line
};

/// A watch stream: the server calls `next` until it returns nothing, sleeps until `wake` runs or a heartbeat is due, and
/// so on. An error becomes a last event "error" and ends the stream. Both functions run on pool threads, never at once.
struct EventStream {
  std::function<Result<std::vector<ServerEvent>>()> next;
  std::function<store::Subscription(std::function<void()> wake)> subscribe;
  std::optional<std::chrono::sys_seconds> until{};  ///< the server ends it here; it sets this itself to Caller::until
};

using Reply = std::variant<Response, EventStream>;
using Handler = std::function<Reply(const Request&)>;

/// An error as the API states it: {"code","what","where","why","advice"} with the fitting HTTP status.
[[nodiscard]] Response error_response(const Error& error);
[[nodiscard]] int http_status(Code code);

/// What a route is, for people and for /openapi.json.
struct RouteNote {
  std::string summary;
  std::string request_schema{};   ///< JSON schema (text) of the body; empty: no body
  std::string response_schema{};  ///< JSON schema (text); empty: any object
  bool anonymous = false;         ///< answers without credentials; all others get 401 before the handler runs
};

/// Method and path pattern to handler. A pattern's part "{name}" matches one segment, decoded; a last part "{name*}"
/// matches the rest. Fixed parts win over "{}", "{}" over "{*}". Filled before the server starts, constant after.
class Router {
 public:
  struct Entry {
    std::string method;
    std::string pattern;
    Handler handler;
    RouteNote note;
  };
  void add(std::string method, std::string pattern, Handler handler, RouteNote note = {});
  /// Finds, authorises (401) and runs; 404 and 405 otherwise. HEAD is served as GET. Never throws.
  [[nodiscard]] Reply dispatch(Request& request) const;
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

struct ServerOptions {
  std::optional<SocketAddress> listen{};///< TCP; port 0 picks one
  std::optional<TlsIdentity> tls{};     ///< TLS 1.3; without it TCP is in clear (loopback metrics only)
  std::string unix_path{};              ///< Unix socket, mode 0600, replaces a dead one; empty: none
  bool succeed_unix = false;            ///< it leaves a living one's in place until succeed()
  unsigned threads = 4;                 ///< pool for handlers
  std::uint32_t deadline_ms = 0;        ///< for handshake, one whole request, one write; 0: limits::api_deadline_ms
  std::uint32_t heartbeat_ms = 0;       ///< of watch streams; 0: limits::watch_heartbeat_s
  std::size_t connections = 0;          ///< at most so many at once; 0: limits::api_connections
  /// Checks the text of "Authorization: Bearer ..."; returns the user. Absent: bearer tokens are refused.
  std::function<Result<Caller>(std::string_view token)> check_token{};
};

/// Runs in threads of its own from start() to destruction, which ends all connections and joins them.
class Server {
 public:
  /// address_in_use, permission, invalid_input (bad certificate or key).
  [[nodiscard]] static Result<std::unique_ptr<Server>> start(ServerOptions options, Router router);
  virtual ~Server() = default;
  /// The TCP address bound (with the real port).
  [[nodiscard]] virtual SocketAddress address() const = 0;
  /// New connections use this certificate (renewal).
  [[nodiscard]] virtual Result<> set_tls(const TlsIdentity& tls) = 0;
  /// With succeed_unix: takes the name from the living process that answers there, in one step, so that somebody does at any moment.
  [[nodiscard]] virtual Result<> succeed() = 0;
};

}  // namespace epif::api
