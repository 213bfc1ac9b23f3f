#include "trace/node_view.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/limits.h"
#include "bridge/unix_http.h"
#include "leak/local_route.h"
#include "net/tcp.h"
#include "net/unix_socket.h"

namespace epif::trace {
namespace {

namespace fs = std::filesystem;

/// What the process behind an admin socket says to `target`; nothing if nobody answers.
std::optional<std::string> ask(const std::string& admin, std::string_view target) {
  const auto answer = bridge::unix_http(admin, "GET", target, {}, {}, limits::admin_deadline_ms);
  if (!answer || answer->status != 200) return {};
  return answer->body;
}

/// The process tells its own role; if it does not, the table's routes have told it.
void meet(Table& table, const std::string& admin) {
  if (admin.empty()) return;
  table.admin = admin;
  const auto metrics = ask(admin, "/metrics");
  table.answers = metrics.has_value();
  if (!metrics) return;
  table.role = role_told(*metrics).value_or(table.role);
  table.serves = generation_told(*metrics);
}

/// `admin`: its process's socket; may be empty.
Result<Table> read_table(const std::string& file, const std::string& admin) {
  std::ifstream in(file);
  if (!in) return fail(Code::not_found, "cannot read the routes", file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto routes = parse_routes(text, file);
  if (!routes) {
    Table table{Role::redirector, file, {}, {}, false, {}, routes.error().text()};
    meet(table, admin);
    if (!table.serves) return fail(std::move(routes.error()));
    return table;
  }
  Table table{Role::redirector, file, std::move(*routes), {}, false};
  // Only a proxy asks who comes.
  const auto asks = [](const Route& route) { return !route.peers.empty() || !route.sources.empty(); };
  if (std::ranges::any_of(table.routes.routes, asks)) table.role = Role::proxy;
  meet(table, admin);
  return table;
}

std::vector<std::string> default_agents() {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/var/lib/epif", ignored)) {
    if (fs::exists(entry.path() / "routes.json", ignored)) found.push_back(entry.path().string());
  }
  if (fs::exists("/var/lib/epif/routes.json", ignored)) found.emplace_back("/var/lib/epif");
  std::ranges::sort(found);
  return found;
}

Result<> function_answers(const ChainLink& link) {
  const Fd found(::open(link.socket.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!found || ::fstat(found.get(), &info) != 0) return fail(system_error(errno, "no socket", link.socket));
  if (!S_ISSOCK(info.st_mode)) return fail(Code::protocol, "not a socket", link.socket);
  auto loop = net::Loop::make();
  if (!loop) return fail(std::move(loop.error()));
  auto connected = net::SeqPacket::connect(**loop, link.socket);
  if (!connected) return fail(std::move(connected.error()));
  auto peer = net::peer_credentials((*connected)->fd());
  if (!peer) return fail(std::move(peer.error()));
  if (link.peer_pid != 0 && peer->pid != link.peer_pid) return fail(Code::bf_failed, "another process listens there", link.socket);
  return {};
}

Result<> connects(const SocketAddress& to, std::uint32_t mark) {
  const Fd socket(::socket(to.ip.is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (mark != 0 && ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) {
    return fail(system_error(errno, "cannot mark a connection", to.text()));
  }
  sockaddr_storage place{};
  const auto length = net::to_sockaddr(to, place);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&place), length) == 0) return {};
  if (errno != EINPROGRESS) return fail(system_error(errno, "cannot connect", to.text()));
  pollfd ready{socket.get(), POLLOUT, 0};
  if (::poll(&ready, 1, static_cast<int>(limits::connect_deadline_ms)) != 1) return fail(Code::timeout, "no answer in time", to.text());
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail(system_error(error, "cannot connect", to.text()));
  return {};
}

std::optional<IpAddress> address_towards(const IpAddress& address) {
  const auto own = leak::local_addresses();
  if (std::ranges::find(own, address) != own.end()) return address;
  const auto route = leak::route_to(address);
  return route ? std::optional(route->from) : std::nullopt;
}

}  // namespace

Result<View> look_around(const Places& places) {
  View view;
  view.now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  std::ifstream sockets("/proc/thread-self/net/unix");
  view.running = serving_ports(std::string{std::istreambuf_iterator<char>(sockets), {}});
  const bool chosen = !places.routes.empty() || !places.agents.empty();
  std::vector<std::string> states{places.state};
  for (std::size_t i = 0; i < places.routes.size(); ++i) {
    auto table = read_table(places.routes[i], i < places.admins.size() ? places.admins[i] : std::string());
    if (!table) return fail(std::move(table.error()));
    view.tables.push_back(std::move(*table));
  }
  for (const auto& folder : chosen ? places.agents : default_agents()) {
    auto table = read_table(folder + "/routes.json", folder + "/admin.sock");
    if (!table) return fail(std::move(table.error()));
    view.tables.push_back(std::move(*table));
    states.push_back(folder + "/redirect");
  }
  for (const auto& state : states) {
    auto guards = leak::guards(state);
    if (!guards) return fail(std::move(guards.error()));
    if (view.guards.empty()) view.guards = std::move(*guards);
    // The same rules; another folder may name more destinations.
    for (std::size_t i = 0; i < view.guards.size() && i < guards->size(); ++i) {
      auto& targets = view.guards[i].targets;
      targets.insert(targets.end(), (*guards)[i].targets.begin(), (*guards)[i].targets.end());
      redirect::tidy(targets);
    }
  }
  return view;
}

Looks real_looks(bool connect) {
  Looks looks{function_answers, {}, address_towards};
  if (connect) looks.connects = connects;
  return looks;
}

// Redirectors hold an abstract socket of this network namespace while they live (redirect/running.h).
std::vector<std::uint16_t> serving_ports(std::string_view sockets) {
  constexpr std::string_view word = " @epif-redirect-";
  std::vector<std::uint16_t> ports;
  while (!sockets.empty()) {
    const auto line = sockets.substr(0, sockets.find('\n'));
    sockets.remove_prefix(std::min(sockets.size(), line.size() + 1));
    const auto at = line.find(word);
    if (at == line.npos) continue;
    std::uint16_t port = 0;
    const auto* const end = line.data() + line.size();
    const auto read = std::from_chars(line.data() + at + word.size(), end, port);
    if (read.ec == std::errc{} && read.ptr == end) ports.push_back(port);
  }
  return ports;
}

std::optional<Role> role_told(std::string_view metrics) {
  if (metrics.contains("epif_proxy_")) return Role::proxy;
  if (metrics.contains("epif_redirect_")) return Role::redirector;
  return {};
}

std::optional<std::uint64_t> generation_told(std::string_view metrics) {
  constexpr std::string_view word = "_routes_generation ";
  while (!metrics.empty()) {
    const auto line = metrics.substr(0, metrics.find('\n'));
    metrics.remove_prefix(std::min(metrics.size(), line.size() + 1));
    const auto at = line.find(word);
    if (at == line.npos || line.starts_with('#')) continue;
    std::uint64_t value = 0;
    if (std::from_chars(line.data() + at + word.size(), line.data() + line.size(), value).ec == std::errc{}) return value;
  }
  return {};
}

std::vector<std::string> refusals_of(std::string_view flows, const std::string& destination) {
  std::vector<std::string> found;
  boost::system::error_code broken;
  const auto document = boost::json::parse(boost::json::string_view(flows.data(), flows.size()), broken);
  const auto* object = broken ? nullptr : document.if_object();
  const auto* list = object == nullptr ? nullptr : object->if_contains("refusals");
  if (list == nullptr || !list->is_array()) return found;
  const auto text = [](const boost::json::object& from, std::string_view key) -> std::string {
    const auto* value = from.if_contains(boost::json::string_view(key.data(), key.size()));
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
  };
  for (const auto& item : list->get_array()) {
    const auto* refusal = item.if_object();
    if (refusal == nullptr || text(*refusal, "destination") != destination) continue;
    const auto source = text(*refusal, "source");  // of a proxy, which has many
    found.push_back(text(*refusal, "at") + " " + text(*refusal, "reason") + ": " + text(*refusal, "message") +
                    (source.empty() ? "" : " (from " + source + ")"));
  }
  return found;
}

std::vector<std::string> recent_refusals(const View& view, const std::vector<std::string>& admins, const std::string& destination) {
  std::vector<std::string> sockets = admins;
  for (const auto& table : view.tables) {
    if (!table.admin.empty() && std::ranges::find(sockets, table.admin) == sockets.end()) sockets.push_back(table.admin);
  }
  std::vector<std::string> found;
  for (const auto& socket : sockets) {
    const auto flows = ask(socket, "/flows");
    if (!flows) continue;
    const auto some = refusals_of(*flows, destination);
    found.insert(found.end(), some.begin(), some.end());
  }
  constexpr std::size_t most = 5;
  std::ranges::sort(found);  // each begins with its time
  if (found.size() > most) found.erase(found.begin(), found.end() - most);
  return found;
}

}  // namespace epif::trace
