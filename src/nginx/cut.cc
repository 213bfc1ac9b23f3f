#include <algorithm>
#include <set>

#include "net/tcp_table.h"
#include "nginx/instance.h"
#include "nginx/processes.h"
#include "nginx/served.h"

/// Ending connections under NGINX's hands.
namespace epif::nginx {
namespace {

/// While this lives, no process in the folder runs.
class Frozen {
 public:
  explicit Frozen(const std::string& folder) : folder_(folder), outcome_(freeze(folder)) {}
  ~Frozen() { thaw(folder_); }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
  [[nodiscard]] const Result<>& outcome() const { return outcome_; }

 private:
  const std::string& folder_;
  Result<> outcome_;
};

Result<> end_those(const std::vector<net::TcpEntry>& table, const std::function<bool(const net::TcpEntry&)>& belongs) {
  for (const auto& entry : table) {
    if (entry.listens || !belongs(entry)) continue;
    if (auto ended = net::end_socket(entry); !ended) return ended;
  }
  return {};
}

}  // namespace

Result<> cut_sockets(const std::string& folder, const std::vector<Route>& routes, const std::vector<Route>& staying) {
  const Frozen frozen(folder);
  if (!frozen.outcome()) return frozen.outcome();
  auto table = net::tcp_table();
  if (!table) return fail(table.error());
  std::set<SocketAddress> listens;
  std::set<SocketAddress> servers;
  for (const auto& route : routes) {
    const auto& listen = route.nginx->listen;
    listens.insert(listen);
    const auto server = server_of(route);
    const bool used =
        std::ranges::any_of(*table, [&](const auto& entry) { return !entry.listens && entry.local == listen; });
    const bool shared = std::ranges::any_of(staying, [&](const Route& other) { return server_of(other) == server; });
    if (used || !shared) servers.insert(server);
  }
  const auto own = sockets_of(folder);
  // The servers' legs first: should anything go wrong in between, the end that waits for data has its error.
  auto ended =
      end_those(*table, [&](const auto& entry) { return servers.contains(entry.remote) && own.contains(entry.inode); });
  if (!ended) return ended;
  return end_those(*table, [&](const auto& entry) { return listens.contains(entry.local); });
}

Result<> end_all(const std::string& folder) {
  const Frozen frozen(folder);
  Result<> first = frozen.outcome();
  auto table = net::tcp_table();
  if (table) {
    const auto own = sockets_of(folder);
    auto ended = end_those(*table, [&](const auto& entry) { return own.contains(entry.inode); });
    if (first && !ended) first = std::move(ended);
  } else if (first) {
    first = fail(table.error());
  }
  auto killed = kill_all(folder);
  return killed ? first : killed;
}

}  // namespace epif::nginx
