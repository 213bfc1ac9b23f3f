#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "model/route.h"

/// What the redirector does with a connection, by its original destination. Pure and immutable: a change of routes.json makes
/// a new one.
namespace epif::redirect {

class Routes {
 public:
  explicit Routes(RouteTable table) : table_(std::move(table)) {}
  /// Without a file: everything captured goes to one proxy, without a flow id.
  [[nodiscard]] static Routes to_one_proxy(const std::vector<CaptureTarget>& targets, SocketAddress proxy,
                                           const Identity& identity);

  /// The route of the narrowest destination that covers `wanted`. Errors: no_route (with the refusal's reason if the table
  /// names one), denied (blocked, with its reason), expired. The pointer lives as long as this.
  [[nodiscard]] Result<const Route*> find(const SocketAddress& wanted, std::chrono::sys_seconds now) const;
  /// The moment after `now` at which the next route expires.
  [[nodiscard]] std::optional<std::chrono::sys_seconds> next_expiry(std::chrono::sys_seconds now) const;

  /// Destinations to capture and guard: of all routes, and of refusals, too, since what was refused must not pass straight
  /// through. Without duplicates, sorted.
  [[nodiscard]] std::vector<CaptureTarget> targets() const;
  /// Where the redirector itself connects: the proxies, and destinations of routes without one.
  [[nodiscard]] std::vector<CaptureTarget> own() const;

  [[nodiscard]] const RouteTable& table() const { return table_; }

 private:
  RouteTable table_;
};

/// True if a flow that began under `before` may go on under `now`: only fields that renew a permit without changing it
/// (expiry, policy and its version) may differ.
[[nodiscard]] bool same_permit(const Route& before, const Route& now);

/// Sorts and removes duplicates.
void tidy(std::vector<CaptureTarget>& targets);

/// Ports whose protocols begin with the server (FTP, SSH, Telnet, SMTP, POP3, IMAP, MySQL, VNC): no wait for the client.
[[nodiscard]] bool server_speaks_first(std::uint16_t port);

}  // namespace epif::redirect
