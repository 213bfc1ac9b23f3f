#pragma once
#include <array>
#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "admission/token_window.h"
#include "base/fd.h"
#include "base/ip.h"
#include "base/limits.h"
#include "model/route.h"
#include "net/loop.h"
#include "socks/socks6.h"

/// SOCKS6 sessions and their idempotence tokens (draft-12, sections "Session options" and "Idempotence options"). All
/// threads of a proxy share them: the requests of one session may reach any of them.
namespace epif::admission {

/// Who opened a session. Requests inside of it must come from the same certificate and address; the user is remembered.
struct SessionOwner {
  Identity identity;  ///< empty in clear
  std::string user;   ///< empty without a password
  IpAddress source;
  friend auto operator<=>(const SessionOwner&, const SessionOwner&) = default;
};

/// A listening socket that a BIND with a backlog keeps open for the further BINDs of its session. Closed by the connection
/// that asked for it; whoever waits on a copy of the descriptor notices by the shutdown.
struct SharedListener {
  Fd socket;
  SocketAddress bound;
  std::string route;  ///< id of the route that granted it
};

using SessionId = std::array<std::uint8_t, 16>;

/// A session as it goes from one process to the next, without its listening sockets.
struct MovedSession {
  SessionId id{};
  SessionOwner owner;
  std::chrono::milliseconds age{};   ///< since it was opened
  std::chrono::milliseconds idle{};  ///< since its last request
  std::optional<TokenWindow> window{};
  Bytes proof{};                     ///< of its user, who must be one there as well: Users::proof() with the id
};

/// One session. Thread-safe.
class ClientSession {
 public:
  using Id = SessionId;
  ClientSession(const Id& id, SessionOwner owner, std::optional<TokenWindow> window = {})
      : id_(id), owner_(std::move(owner)), window_(std::move(window)) {}

  [[nodiscard]] const Id& id() const { return id_; }
  [[nodiscard]] const SessionOwner& owner() const { return owner_; }

  struct Tokens {
    std::optional<socks6::IdempotenceWindow> window;  ///< as it is after this request
    std::optional<bool> accepted;                     ///< absent: no token was to be spent
    bool moved = false;                               ///< a token was, and only another process can say whether it is good
  };
  /// What one request does with tokens, in one step: gets the session's one window if it asks and there is none, and spends
  /// its token. At most limits::token_window_max are granted.
  [[nodiscard]] Tokens use_tokens(std::optional<std::uint32_t> wanted_size, std::optional<std::uint32_t> token);

  /// The window as it is, which another process has from now on: none is granted here any more, and no token spent.
  [[nodiscard]] std::optional<TokenWindow> give_window();

  void add_listener(std::shared_ptr<const SharedListener> listener);
  void remove_listener(const SharedListener& listener);
  [[nodiscard]] std::shared_ptr<const SharedListener> listener_at(const SocketAddress& bound) const;

 private:
  const Id id_;
  const SessionOwner owner_;
  mutable std::mutex mutex_;
  std::optional<TokenWindow> window_;
  bool moved_ = false;
  std::vector<std::shared_ptr<const SharedListener>> listeners_;
};

/// All sessions of a proxy. Thread-safe; asked once a request. Time is given, so that tests need not wait.
class ClientSessions {
 public:
  struct Limits {
    std::size_t total = limits::sessions_max;
    std::size_t per_owner = limits::sessions_per_owner;
    std::chrono::milliseconds idle = std::chrono::seconds(limits::session_idle_s);
    std::chrono::milliseconds life = std::chrono::seconds(limits::session_life_s);
  };
  explicit ClientSessions(Limits limits) : limits_(limits) {}

  /// A new session with an unguessable id; null when a limit is reached (the draft wants silence then).
  [[nodiscard]] std::shared_ptr<ClientSession> open(const SessionOwner& owner, net::TimePoint now);
  /// The session of this id, if this certificate and address opened it and it has not ended; its idle time begins anew.
  [[nodiscard]] std::shared_ptr<ClientSession> find(ByteSpan id, const Identity& identity, const IpAddress& source,
                                                    net::TimePoint now);
  /// Ends the session. False if find() would not have given it, or another user opened it.
  bool tear_down(ByteSpan id, const SessionOwner& owner, net::TimePoint now);

  // From one process to its successor.
  /// All sessions, whose windows are the successor's from now on. Here they still serve requests without a token, and none is opened.
  [[nodiscard]] std::vector<MovedSession> give(net::TimePoint now);
  /// A predecessor's session goes on here. Errors: limit, conflict (its id is taken).
  [[nodiscard]] Result<> take(MovedSession moved, net::TimePoint now);
  /// Called, on any thread and not to call back, with each session that its owner tears down. Before the first request.
  void on_teardown(std::function<void(const SessionId&)> call) { torn_down_ = std::move(call); }
  /// Ends a session that was torn down in another process.
  void end(const SessionId& id);

  struct State {
    std::size_t open = 0;
    std::uint64_t opened = 0;
    std::uint64_t refused = 0;  ///< for a limit
    std::uint64_t invalid = 0;  ///< ids that were asked for in vain
    std::uint64_t tokens_spent = 0;
    std::uint64_t tokens_rejected = 0;
  };
  [[nodiscard]] State state() const;
  [[nodiscard]] const Limits& limits() const { return limits_; }
  void count_token(bool accepted);

 private:
  struct Entry {
    std::shared_ptr<ClientSession> session;
    net::TimePoint since;
    net::TimePoint used;
  };
  struct Hash {
    std::size_t operator()(const ClientSession::Id& id) const;
  };
  using Entries = std::unordered_map<ClientSession::Id, Entry, Hash>;
  [[nodiscard]] bool over(const Entry& entry, net::TimePoint now) const;
  [[nodiscard]] Entries::iterator lookup(ByteSpan id, const Identity& identity, const IpAddress& source, net::TimePoint now);
  void erase(Entries::iterator entry);
  void sweep(net::TimePoint now);

  const Limits limits_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::map<SessionOwner, std::size_t> owners_;  ///< with the source as limits count it
  net::TimePoint swept_{};
  std::function<void(const SessionId&)> torn_down_;
  bool given_ = false;
  State counted_;
};

}  // namespace epif::admission
