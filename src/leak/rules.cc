#include "leak/rules.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "net/nft.h"
#include "redirect/capture.h"
#include "redirect/routes.h"

namespace epif::leak {
namespace {

/// The word behind `key` in `line`, without a trailing comma; a set in braces as a whole.
std::string_view after(std::string_view line, std::string_view key) {
  const auto at = line.find(key);
  if (at == line.npos) return {};
  auto rest = line.substr(at + key.size());
  if (rest.starts_with('{')) return rest.substr(0, rest.find('}') + 1);
  return rest.substr(0, rest.find(' '));
}

std::vector<std::string_view> items(std::string_view text) {
  std::vector<std::string_view> found;
  if (!text.starts_with('{')) {
    if (!text.empty()) found.push_back(text);
    return found;
  }
  while (!text.empty()) {
    const auto begin = text.find_first_not_of("{}, ");
    if (begin == text.npos) break;
    text.remove_prefix(begin);
    found.push_back(text.substr(0, text.find_first_of("}, ")));
    text.remove_prefix(found.back().size());
  }
  return found;
}

std::optional<PortRange> ports_of(std::string_view text) {
  if (text.empty()) return PortRange{};
  auto ports = PortRange::parse(text);
  return ports ? std::optional(*ports) : std::nullopt;
}

std::uint32_t number(std::string_view hex) {
  std::uint32_t value = 0;
  std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
  return value;
}

/// Every destination block that a line names, with `ports`.
void add_targets(std::vector<CaptureTarget>& to, std::string_view line, const PortRange& ports) {
  for (const auto block : items(after(line, " daddr "))) {
    const auto cidr = Cidr::parse(block);
    if (cidr) to.push_back({*cidr, ports});
  }
}

/// Ports of the chains `target0`, `leave0` ...: "th dport != 80 return" lets the others pass.
std::map<std::string, PortRange, std::less<>> chain_ports(std::string_view listing) {
  std::map<std::string, PortRange, std::less<>> ports;
  std::string chain;
  while (!listing.empty()) {
    const auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    if (const auto name = after(line, "chain "); !name.empty()) chain = name;
    if (line.contains(" return") && line.contains("dport != ")) {
      if (const auto range = ports_of(after(line, "dport != "))) ports[chain] = *range;
    }
  }
  return ports;
}

void read_line(Guard& guard, std::string_view line, const std::map<std::string, PortRange, std::less<>>& chains) {
  if (!line.contains(" daddr ")) return;
  const auto ports = ports_of(after(line, " dport "));
  if (!ports) return;
  if (line.contains("meta mark 0x") && !line.contains("mark set") && !line.contains("mark != ")) {
    if (line.contains(" tcp ")) {
      add_targets(guard.own, line, *ports);
      guard.mark = number(after(line, "meta mark 0x"));
    }
    return;
  }
  if (const auto chain = after(line, " jump "); !chain.empty()) {
    if (chain == redirect::programs_chain_name) return;  // who sends is asked there, for all of the block
    const auto known = chains.find(chain);
    add_targets(guard.targets, line, known == chains.end() ? PortRange{} : known->second);
  } else if (line.contains(" redirect to ") || line.contains(" tproxy ")) {
    add_targets(guard.targets, line, *ports);
  } else if ((line.ends_with(" accept") || line.ends_with(" return")) && !line.contains("oif \"lo\"") && !line.contains("icmpv6")) {
    add_targets(guard.excluded, line, *ports);
  }
}

void read_lists(Guard& guard, const std::string& state_dir) {
  struct stat space {};
  if (::stat("/proc/thread-self/ns/net", &space) != 0) return;
  const auto stem = fmt::format("{}/redirect-{}-{}", state_dir, std::uint64_t{space.st_ino}, guard.listen_port);
  std::ifstream targets(stem + ".targets");
  for (std::string line; std::getline(targets, line);) {
    if (const auto target = CaptureTarget::parse(line)) guard.targets.push_back(*target);
  }
  std::ifstream names(stem + ".names");
  for (std::string line; std::getline(names, line);) {
    std::istringstream words(line);
    std::string kind, alias, name;
    if (words >> kind >> alias >> name && kind == "name" && std::ranges::find(guard.names, name) == guard.names.end()) guard.names.push_back(name);
  }
}

}  // namespace

Guard read_guard(std::uint16_t listen_port, std::string_view listing) {
  Guard guard{listen_port, {}, {}, {}, {}, 0};
  const auto chains = chain_ports(listing);
  while (!listing.empty()) {
    auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    while (line.ends_with(' ')) line.remove_suffix(1);
    read_line(guard, line, chains);
  }
  for (auto* list : {&guard.targets, &guard.own, &guard.excluded}) redirect::tidy(*list);
  return guard;
}

Result<std::vector<Guard>> guards(const std::string& state_dir) {
  auto tables = net::nft_tables(redirect::table_prefix);
  if (!tables) return fail(std::move(tables.error()));
  std::vector<Guard> found;
  for (const auto& table : *tables) {
    if (table.family != "inet") continue;
    const auto number = std::string_view(table.name).substr(redirect::table_prefix.size());
    std::uint16_t port = 0;
    const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), port);
    if (failure != std::errc{} || end != number.data() + number.size()) continue;
    auto listing = net::run_nft("list table inet " + table.name + "\n");
    if (!listing) return fail(std::move(listing.error()));
    found.push_back(read_guard(port, *listing));
    read_lists(found.back(), state_dir);
    redirect::tidy(found.back().targets);
  }
  return found;
}

}  // namespace epif::leak
