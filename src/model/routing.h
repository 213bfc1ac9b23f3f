#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "model/route.h"

/// Which route a connection takes: pure, from one immutable table.
namespace epif {

/// Who asks. In clear there is no identity and the address must stand in the route's `sources`; with TLS the certificate's
/// identity must stand in its `peers`, and the address does not matter.
struct Asker {
  Identity identity;      ///< empty in clear
  IpAddress address;
  std::string_view flow;  ///< flow id that the request names; may be empty
  epif::Protocol protocol = epif::Protocol::tcp;  ///< routes of the other protocol admit nobody
};

using RoutePtr = std::shared_ptr<const Route>;

/// What a client that names no flow asks for: the first route that fits gives it, so another table may give another.
struct Wish {
  bool bind = false;
  std::optional<Destination> host;  ///< absent only for BIND: whoever connects
};

/// A table made quick to search. Immutable; shared by all threads.
class Routing : public std::enable_shared_from_this<Routing> {
 public:
  [[nodiscard]] static std::shared_ptr<const Routing> of(RouteTable table);

  /// The route for this asker and destination. A flow id chooses among the routes that the asker is entitled to; it gives no
  /// right by itself. Without one the first route of the file that fits is taken. A name matches only the route's own `name`:
  /// nothing is resolved before the decision. Errors: no_route (with the control plane's reason for it, if it gave one),
  /// expired, denied (blocked).
  [[nodiscard]] Result<RoutePtr> find(const Asker& asker, const Destination& destination, std::chrono::sys_seconds now) const;

  /// The route that grants BIND to this asker, with `expected` as the host that is to connect (its port counts unless it is
  /// 0), or, where the request cannot say who is expected, with any host of its destination. Errors as find().
  [[nodiscard]] Result<RoutePtr> find_bind(const Asker& asker, const std::optional<Destination>& expected,
                                           std::chrono::sys_seconds now) const;

  /// True if some route grants this asker anything now.
  [[nodiscard]] bool entitles(const Asker& asker, std::chrono::sys_seconds now) const;

  /// The route that carries on a running flow of `old`: of equal id, still valid at `now`, and equal in all that decides
  /// where its bytes go. A later expiry or another policy that grants the same does not end a flow. Null: cut it.
  [[nodiscard]] RoutePtr successor(const Route& old, std::chrono::sys_seconds now) const;

  /// The same for a flow that `asker` has by `old`, having named no flow: null as well if this table refuses the wish now or
  /// gives it by another route. Old flows keep nothing that a new one would not get.
  [[nodiscard]] RoutePtr successor(const Route& old, const Asker& asker, const Wish& wish, std::chrono::sys_seconds now) const;

  [[nodiscard]] const RouteTable& table() const { return table_; }
  [[nodiscard]] bool has(std::string_view id) const { return by_id_.contains(id); }

 private:
  explicit Routing(RouteTable table);
  [[nodiscard]] Result<RoutePtr> checked(const Route& route, std::chrono::sys_seconds now) const;
  [[nodiscard]] Error no_route(const Asker& asker, const Destination& destination) const;

  RouteTable table_;
  std::unordered_map<std::string_view, const Route*> by_id_;
  std::map<IpAddress, std::vector<const Route*>> by_host_;          ///< destinations of one address
  std::unordered_map<std::string, std::vector<const Route*>> by_name_;  ///< lower case
  std::vector<const Route*> wide_;                                  ///< all other destinations
};

/// True if the route's destination is `destination`, by address or by the route's name.
[[nodiscard]] bool leads_to(const Route& route, const Destination& destination);
/// True if `asker` may use the route.
[[nodiscard]] bool admits(const Route& route, const Asker& asker);

/// True if the route lets anything through at `now`: neither past its end nor blocked.
[[nodiscard]] bool grants(const Route& route, std::chrono::sys_seconds now);

/// The route of --allow-all: every destination, for everyone, honouring the client's stack options.
[[nodiscard]] RoutePtr open_route();

}  // namespace epif
