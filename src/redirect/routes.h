#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "net/socket_owner.h"
#include "model/route.h"
#include "redirect/capture.h"

/// What the redirector does with a connection, by its original destination. Pure and immutable: a change of routes.json makes
/// a new one.
namespace epif::redirect {

using Transport = Protocol;
/// Who asks: the program that holds the socket.
using Program = net::SocketOwner;

/// A connection or datagram to be carried.
struct Wanted {
  SocketAddress destination;
  Transport transport = Transport::tcp;
  const Program* who = nullptr;  ///< null: unknown, or another host's
};

/// What flags say in the place of a file.
struct Standalone {
  std::vector<CaptureTarget> targets;
  std::vector<std::pair<std::string, IpAddress>> names;  ///< DNS answers the address for the name
  RouteSelector selector;                                ///< whose traffic is carried; all other is refused
  SocketAddress proxy;
  Identity identity;
  bool replay_safe = false;                              ///< first bytes may travel in a SYN
};

class Routes {
 public:
  explicit Routes(RouteTable table) : table_(std::move(table)) {}
  /// Without a file: everything captured goes to one proxy, without a flow id. A name's connections and datagrams are asked for by
  /// that name.
  [[nodiscard]] static Routes to_one_proxy(const Standalone& wishes);

  /// The route for `wanted` whose selector fits `who`: of the narrowest destination, then the one with more to select by. A
  /// route with a selector fits nobody whom we do not know (null). Errors: no_route (with the refusal's reason if the table
  /// names one), denied (blocked, with its reason; or NGINX's), expired. The pointer lives as long as this.
  [[nodiscard]] Result<const Route*> find(const Wanted& wanted, std::chrono::sys_seconds now) const;
  /// True if who asks decides: some route that covers `wanted` has a selector.
  [[nodiscard]] bool asks_who(Transport transport, const SocketAddress& wanted) const;
  /// The moment after `now` at which the next route expires.
  [[nodiscard]] std::optional<std::chrono::sys_seconds> next_expiry(std::chrono::sys_seconds now) const;

  /// Destinations to capture and guard: of all routes, and of refusals, too, since what was refused must not pass straight
  /// through. Without duplicates, sorted.
  [[nodiscard]] std::vector<CaptureTarget> targets() const;
  /// Where the redirector itself connects: the proxies, and destinations of TCP routes without one that are neither blocked nor
  /// expired.
  [[nodiscard]] std::vector<CaptureTarget> own(std::chrono::sys_seconds now) const;
  /// The same for datagrams: destinations of UDP routes without a proxy and, if relays are used (SOCKS5), the proxies.
  [[nodiscard]] std::vector<CaptureTarget> own_datagrams(bool relays, std::chrono::sys_seconds now) const;
  /// What the kernel sends to NGINX: routes of method nginx that are neither blocked nor expired, whose destination no
  /// other TCP route or refusal names as narrowly. Where two of the method have one destination, the first counts. Sorted.
  [[nodiscard]] std::vector<Diversion> diversions(std::chrono::sys_seconds now) const;
  /// Names of earlier routes, as names() gives them, with their aliases, or 0.0.0.0 for one that had none left: names() goes on to give
  /// these, since a program that got the real address instead would go around the guard.
  void keep_names(Names kept);
  /// What DNS answers, by plain name: the aliases of the routes and, for a name that no route has any more, those that were
  /// kept. Empty if another route leads to the alias now, by itself or in a block, or a refusal is of that address alone and all its
  /// ports, inside of a wider one: it is to be forgotten, and stays so. Sorted.
  [[nodiscard]] std::map<std::string, std::vector<IpAddress>, std::less<>> names() const;
  /// Some route has a name: DNS is to be captured.
  [[nodiscard]] bool has_names() const;

  [[nodiscard]] const RouteTable& table() const { return table_; }

 private:
  [[nodiscard]] bool only_nginx(const Route& carried) const;

  RouteTable table_;
  Names kept_names_;
};

/// Names of users in selectors as numbers, since a socket knows its user by number. Names that this node does not know stay, and
/// fit nobody; they are given back.
[[nodiscard]] std::vector<std::string> resolve_users(RouteTable& table);

/// True if a flow that began under `before` may go on under `now`: only fields that renew a permit without changing it
/// (expiry, policy and its version) may differ.
[[nodiscard]] bool same_permit(const Route& before, const Route& now);

/// A host name as questions are compared by: small letters, no final dot.
[[nodiscard]] std::string plain_name(std::string_view name);

/// Sorts and removes duplicates.
void tidy(std::vector<CaptureTarget>& targets);

/// Ports whose protocols begin with the server (FTP, SSH, Telnet, SMTP, POP3, IMAP, MySQL, VNC): no wait for the client.
[[nodiscard]] bool server_speaks_first(std::uint16_t port);

}  // namespace epif::redirect
