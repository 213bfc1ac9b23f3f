#include "nginx/gate.h"

#include <fmt/format.h>

#include <set>

namespace epif::nginx {
namespace {

/// The elements of both families' sets.
struct Elements {
  std::set<std::string> pairs[2];  ///< client . listen address . port
  std::set<std::string> ports[2];  ///< listen address . port
};

std::string set_text(std::string_view name, std::string_view type, const std::set<std::string>& elements) {
  auto text = fmt::format("  set {} {{\n    type {}\n", name, type);
  if (!elements.empty()) text += fmt::format("    elements = {{ {} }}\n", fmt::join(elements, ", "));
  return text + "  }\n";
}

std::string chain_text(std::string_view name, std::string_view hook, bool arriving) {
  auto text = fmt::format("  chain {} {{\n    type filter hook {} priority -10; policy accept;\n", name, hook);
  for (const auto* family : {"4", "6"}) {
    const auto* ip = *family == '4' ? "ip" : "ip6";
    const auto* client = arriving ? "saddr" : "daddr";
    const auto* own = arriving ? "daddr" : "saddr";
    const auto* port = arriving ? "dport" : "sport";
    text += fmt::format("    {0} {1} . {0} {2} . tcp {3} @open{4} accept\n", ip, client, own, port, family);
    const auto closed = fmt::format("    {0} {1} . tcp {2} @listening{3}", ip, own, port, family);
    text += closed + (arriving ? " counter reject with tcp reset\n" : " tcp flags & rst == 0 counter drop\n");
  }
  return text + "  }\n";
}

}  // namespace

std::string gate_name(std::string_view state) {
  std::uint64_t hash = 14695981039346656037ull;  // FNV-1a
  for (const char byte : state) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ull;
  return fmt::format("{}{:016x}", gate_prefix, hash);
}

std::string remove_gate_script(std::string_view name) {
  // `add` first, since deleting what is not there would fail the transaction.
  return fmt::format("add table inet {0}\ndelete table inet {0}\n", name);
}

std::string gate_script(std::string_view name, const std::vector<Route>& open, const std::vector<SocketAddress>& listening) {
  Elements elements;
  for (const auto& route : open) {
    const auto& listen = route.nginx->listen;
    for (const auto& client : route.nginx->clients) {
      elements.pairs[listen.ip.is_v6()].insert(fmt::format("{} . {} . {}", client.text(), listen.ip.text(), listen.port));
    }
    elements.ports[listen.ip.is_v6()].insert(fmt::format("{} . {}", listen.ip.text(), listen.port));
  }
  for (const auto& listen : listening)
    elements.ports[listen.ip.is_v6()].insert(fmt::format("{} . {}", listen.ip.text(), listen.port));
  auto text = remove_gate_script(name) + fmt::format("table inet {} {{\n", name);
  for (const bool six : {false, true}) {
    const auto* address = six ? "ipv6_addr" : "ipv4_addr";
    text += set_text(six ? "open6" : "open4", fmt::format("{0} . {0} . inet_service", address), elements.pairs[six]);
    text += set_text(six ? "listening6" : "listening4", fmt::format("{} . inet_service", address), elements.ports[six]);
  }
  return text + chain_text("arriving", "input", true) + chain_text("leaving", "output", false) + "}\n";
}

}  // namespace epif::nginx
