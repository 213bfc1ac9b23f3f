#include "redirect/capture.h"

#include <fmt/format.h>

#include <iterator>

namespace epif::redirect {
namespace {

/// Appends lines; nft wants each chain's closing brace on a line of its own.
class Script {
 public:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

constexpr std::string_view loopback_of(bool v6) { return v6 ? "::1" : "127.0.0.1"; }
constexpr std::string_view family_of(bool v6) { return v6 ? "ip6" : "ip"; }

std::string ports_text(const PortRange& ports) {
  return ports.first == ports.last ? fmt::format("{}", ports.first) : fmt::format("{}-{}", ports.first, ports.last);
}

std::string block_match(const CaptureTarget& target) {
  return fmt::format("{} daddr {}", family_of(target.block.address.is_v6()), target.block.text());
}

std::string tcp_match(const CaptureTarget& target) {
  if (target.ports.is_all()) return block_match(target) + " meta l4proto tcp";
  return fmt::format("{} tcp dport {}", block_match(target), ports_text(target.ports));
}

/// Marked traffic alone could be anybody's; marked traffic to a proxy only reaches someone who asks for a certificate.
void own_traffic(Script& script, const CaptureRules& rules, std::string_view verdict) {
  for (const auto& own : rules.own) script.line("    meta mark {:#x} {} {}", own_mark, tcp_match(own), verdict);
}

/// What may pass towards a protected block returns; the rest ends here.
void target_chains(Script& script, const CaptureRules& rules, bool reset) {
  for (std::size_t i = 0; i < rules.targets.size(); ++i) {
    const auto& target = rules.targets[i];
    script.line("  chain target{} {{", i);
    if (!target.ports.is_all()) {
      script.line("    meta l4proto {{ tcp, udp, udplite, sctp, dccp }} th dport != {} return", ports_text(target.ports));
    }
    // A connection that is older than the rules learns at once that it is over; the reset goes to this node's own end.
    if (reset) script.line("    meta l4proto tcp counter reject with tcp reset");
    script.line("    counter drop");
    script.line("  }}");
  }
}

void target_jumps(Script& script, const CaptureRules& rules) {
  for (std::size_t i = 0; i < rules.targets.size(); ++i) {
    script.line("    {} jump target{}", block_match(rules.targets[i]), i);
  }
}

/// A source route's last hop may be a protected destination that the address field does not show.
void source_routes(Script& script) {
  script.line("    ip option lsrr exists counter drop");
  script.line("    ip option ssrr exists counter drop");
  script.line("    exthdr rt exists counter drop");
}

/// The same on egress, where the kernel does not find IPv4 options: a source route needs 7 bytes of them, so a header of
/// more than 6 words. Router alert (IGMP), the one option in real use, fits into 6.
void source_routes_of_frames(Script& script) {
  script.line("    @nh,0,4 4 @nh,4,4 > 6 counter drop");
  script.line("    exthdr rt exists counter drop");
}

/// Without these a neighbour's link address cannot be found, as ARP does for IPv4, which is not IP and passes. To one
/// neighbour (RFC 4861, reachability probes) only the fixed 32 bytes pass, and few, since a router would forward them.
void neighbour_discovery(Script& script) {
  constexpr std::string_view discovery = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255";
  script.line("    {} ip6 daddr {{ ff02::/16, fe80::/10 }} accept", discovery);
  script.line("    {} ip6 length <= 32 limit rate 20/second accept", discovery);
}

/// Packets of redirected connections in both directions, on loopback only. They come first: these are the many.
void redirected(Script& script, std::uint16_t port) {
  for (const bool v6 : {false, true}) {
    script.line("    oif lo {} daddr {} tcp dport {} accept", family_of(v6), loopback_of(v6), port);
    script.line("    oif lo {} saddr {} tcp sport {} accept", family_of(v6), loopback_of(v6), port);
  }
}

void inet_table(Script& script, const CaptureRules& rules, std::string_view name) {
  script.line("table inet {} {{", name);
  target_chains(script, rules, true);
  script.line("  chain capture {{");
  script.line("    type nat hook output priority -100; policy accept;");
  own_traffic(script, rules, "return");
  for (const auto& target : rules.targets) script.line("    {} redirect to :{}", tcp_match(target), rules.listen_port);
  script.line("  }}");
  // Last of all, so that no other table's address translation comes after it.
  script.line("  chain guard_output {{");
  script.line("    type filter hook output priority 2147483647; policy accept;");
  redirected(script, rules.listen_port);
  own_traffic(script, rules, "accept");
  neighbour_discovery(script);
  source_routes(script);
  target_jumps(script, rules);
  script.line("  }}");
  script.line("  chain guard_forward {{");
  script.line("    type filter hook forward priority 2147483647; policy accept;");
  source_routes(script);
  target_jumps(script, rules);
  script.line("  }}");
  // Who connects to the listener itself was not redirected and has no destination.
  script.line("  chain direct_connect {{");
  script.line("    type filter hook input priority 0; policy accept;");
  script.line("    tcp dport {} ct status & dnat == 0 counter reject with tcp reset", rules.listen_port);
  script.line("  }}");
  script.line("}}");
}

/// The block's bits as an unsigned literal for a raw load of `prefix` bits.
std::string bits(const Cidr& block) {
  std::string hex = "0x";
  const unsigned whole = block.prefix / 8;
  const unsigned rest = block.prefix % 8;
  for (unsigned i = 0; i < whole; ++i) hex += fmt::format("{:02x}", block.address.bytes()[i]);
  if (rest == 0) return hex;
  // Loads of odd lengths are right-aligned: shift the whole number, nibble by nibble is not enough, so do it in bits.
  std::string binary;
  for (unsigned i = 0; i < block.prefix; ++i) {
    binary += (block.address.bytes()[i / 8] >> (7 - i % 8)) & 1 ? '1' : '0';
  }
  while (binary.size() % 4 != 0) binary.insert(binary.begin(), '0');
  hex = "0x";
  for (std::size_t i = 0; i < binary.size(); i += 4) hex += fmt::format("{:x}", std::stoi(binary.substr(i, 4), nullptr, 2));
  return hex;
}

/// Frames whose declared protocol differs from their content: the sender of a raw frame names the protocol as it likes.
/// Here only the bytes count, and ports are not looked for.
void disguised_chain(Script& script, const CaptureRules& rules) {
  script.line("  chain disguised {{");
  script.line("    @nh,0,4 4 @nh,4,4 > 6 counter drop");
  script.line("    @nh,0,4 6 @nh,48,8 43 counter drop");
  for (const auto& target : rules.targets) {
    const bool v6 = target.block.address.is_v6();
    const auto version = v6 ? 6 : 4;
    if (target.block.prefix == 0) {
      script.line("    @nh,0,4 {} counter drop", version);
    } else {
      script.line("    @nh,0,4 {} @nh,{},{} {} counter drop", version, v6 ? 192 : 128, target.block.prefix, bits(target.block));
    }
  }
  script.line("  }}");
}

/// A VLAN tag written by hand under a declared protocol of IP moves the header by 4 bytes. Tags of VLAN devices are not
/// touched: there the network header is where it is declared to be.
void hidden_tags(Script& script, const CaptureRules& rules) {
  for (const auto& target : rules.targets) {
    const bool v6 = target.block.address.is_v6();
    if (target.block.prefix == 0) continue;  // every IP packet is protected already
    const auto value = bits(target.block);
    script.line("    @ll,96,16 {{ 0x8100, 0x88a8 }} @nh,{},{} != {} @ll,{},{} {} counter drop", v6 ? 192 : 128,
                target.block.prefix, value, v6 ? 336 : 272, target.block.prefix, value);
  }
}

void netdev_table(Script& script, const CaptureRules& rules, std::string_view name,
                  const std::vector<std::string>& devices) {
  script.line("table netdev {} {{", name);
  target_chains(script, rules, false);
  disguised_chain(script, rules);
  script.line("  chain guard_egress {{");
  script.line("    type filter hook egress devices = {{ \"{}\" }} priority 0; policy accept;", fmt::join(devices, "\", \""));
  own_traffic(script, rules, "accept");
  script.line("    meta protocol != {{ ip, ip6 }} jump disguised");
  script.line("    meta protocol ip @nh,0,4 != 4 jump disguised");
  script.line("    meta protocol ip6 @nh,0,4 != 6 jump disguised");
  hidden_tags(script, rules);
  neighbour_discovery(script);
  source_routes_of_frames(script);
  target_jumps(script, rules);
  script.line("  }}");
  script.line("}}");
}

}  // namespace

std::string table_name(std::uint16_t listen_port) { return fmt::format("{}{}", table_prefix, listen_port); }

std::string remove_script(std::string_view table) {
  Script script;
  for (const auto* family : {"inet", "netdev"}) {
    // `add` first, since deleting what is not there would fail the transaction.
    script.line("add table {} {}", family, table);
    script.line("delete table {} {}", family, table);
  }
  return script.take();
}

std::string install_script(const CaptureRules& rules, const std::vector<std::string>& devices) {
  const auto name = table_name(rules.listen_port);
  Script script;
  inet_table(script, rules, name);
  if (!devices.empty()) netdev_table(script, rules, name, devices);
  return remove_script(name) + script.take();
}

}  // namespace epif::redirect
