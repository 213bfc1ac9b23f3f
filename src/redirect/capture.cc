#include "redirect/capture.h"

#include <sys/random.h>

#include "net/stand_in_maps.h"
#include "redirect/capture_script.h"

// The inet table, and both together.
namespace epif::redirect {
namespace {

constexpr int last_of_all = 2147483647;  // so that no other table's address translation comes after the guard
constexpr std::string_view loopback_of(bool v6) { return v6 ? "::1" : "127.0.0.1"; }
constexpr std::string_view tproxy_to(bool v6) { return v6 ? "[::1]" : "127.0.0.1"; }

/// A source route's last hop may be a protected destination that the address field does not show.
void source_routes(Script& script) {
  script.line("    ip option lsrr exists counter drop");
  script.line("    ip option ssrr exists counter drop");
  script.line("    exthdr rt exists counter drop");
}

/// Packets of redirected connections in both directions, on loopback only. They come first: these are the many.
void redirected(Script& script, const CaptureRules& rules) {
  const auto port = rules.listen_port;
  if (rules.stand_ins) {
    script.line("    oif lo ip daddr {} tcp dport {} accept", net::stand_in_block, port);
    script.line("    oif lo ip saddr {} tcp sport {} accept", net::stand_in_block, port);
  }
  for (const bool v6 : {false, true}) {
    script.line("    oif lo {} daddr {} tcp dport {} accept", family_of(v6), loopback_of(v6), port);
    script.line("    oif lo {} saddr {} tcp sport {} accept", family_of(v6), loopback_of(v6), port);
  }
}

/// What the connect hook leads here has nothing that would have to be translated back.
void stand_ins_chain(Script& script, const CaptureRules& rules) {
  script.line("  chain stand_ins {{");
  script.line("    type filter hook output priority -300; policy accept;");
  script.line("    oif lo ip daddr {} tcp dport {} notrack accept", net::stand_in_block, rules.listen_port);
  script.line("    oif lo ip saddr {} tcp sport {} notrack", net::stand_in_block, rules.listen_port);
  script.line("  }}");
}

/// TCP of this node.
void capture_chain(Script& script, const CaptureRules& rules) {
  script.line("  chain capture {{");
  script.line("    type nat hook output priority -100; policy accept;");
  own_traffic(script, rules, "return");
  excluded_programs(script, rules, "return");
  // Passed on DNS: harmless where nothing is protected, and the guard stands where something is.
  if (rules.dns_port != 0) {
    script.line("    tcp dport 53 meta mark != {:#x} fib daddr type != local redirect to :{}", rules.mark, rules.dns_port);
  }
  excluded_traffic(script, rules, "return");
  for (const auto& [server, nginx] : rules.diversions) {
    const auto family = family_of(server.ip.is_v6());
    script.line("    {} daddr {} tcp dport {} dnat {} to {}", family, server.ip.text(), server.port, family, nginx.text());
  }
  for (const auto& target : rules.targets) script.line("    {} redirect to :{}", transport_match(target, "tcp"), rules.listen_port);
  script.line("  }}");
}

/// Datagrams of this node: tproxy works on arriving packets only, so a mark turns them round to loopback.
void reroute_chain(Script& script, const CaptureRules& rules) {
  const auto mark = capture_mark(rules.listen_port);
  script.line("  chain reroute {{");
  script.line("    type route hook output priority -150; policy accept;");
  script.line("    meta mark {:#x} return", rules.mark);
  label_programs(script, rules);
  script.line("    meta l4proto != udp return");
  excluded_programs(script, rules, "return");
  // A resolver on this node asks others itself, and those questions are seen.
  if (rules.dns_port != 0) script.line("    udp dport 53 fib daddr type != local meta mark set {:#x} return", mark);
  excluded_traffic(script, rules, "return");
  for (const auto& target : rules.targets) script.line("    {} meta mark set {:#x}", transport_match(target, "udp"), mark);
  script.line("  }}");
}

/// `what` goes to the redirector's socket. Without one tproxy would let it go on, so a drop follows.
void take(Script& script, const std::string& what, bool v6, std::uint16_t port, std::uint32_t mark) {
  script.line("    {} tproxy {} to {}:{} meta mark set {:#x} accept", what, family_of(v6), tproxy_to(v6), port, mark);
  script.line("    {} counter drop", what);
}

/// What arrives over loopback after rerouting and, at a gateway, what it would forward.
void divert_chain(Script& script, const CaptureRules& rules) {
  const auto mark = capture_mark(rules.listen_port);
  script.line("  chain divert {{");
  script.line("    type filter hook prerouting priority -150; policy accept;");
  if (rules.gateway) {
    script.line("    iif lo meta mark != {:#x} return", mark);
    script.line("    iif != lo fib daddr type {{ local, broadcast, multicast }} return");
  } else {
    script.line("    iif != lo return");
    script.line("    meta mark != {:#x} return", mark);
  }
  if (rules.dns_port != 0) {
    for (const bool v6 : {false, true}) {
      for (const auto* protocol : {"udp", "tcp"}) {
        take(script, fmt::format("meta nfproto {} {} dport 53", v6 ? "ipv6" : "ipv4", protocol), v6, rules.dns_port, mark);
      }
    }
  }
  excluded_traffic(script, rules, "return");
  for (const auto& target : rules.targets) {
    const bool v6 = target.block.address.is_v6();
    take(script, transport_match(target, "udp"), v6, rules.listen_port, mark);
    if (rules.gateway) take(script, transport_match(target, "tcp"), v6, rules.listen_port, mark);
  }
  script.line("  }}");
}

/// An answer to a question whose program has gone: the kernel's error to the resolver would carry the name that was asked for. Offsets are
/// those of the quoted packet behind the 8 bytes of ICMP: version, protocol, UDP source port.
void errors_about_names(Script& script, const CaptureRules& rules) {
  if (rules.dns_port == 0) return;
  script.line("    icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} @th,64,8 0x45 @th,136,8 17 @th,224,16 53 counter drop");
  script.line("    icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} @th,112,8 17 @th,384,16 53 counter drop");
}

void guard_output_chain(Script& script, const CaptureRules& rules) {
  script.line("  chain guard_output {{");
  script.line("    type filter hook output priority {}; policy accept;", last_of_all);
  redirected(script, rules);
  programs_mark_taken(script, rules);
  own_traffic(script, rules, "accept");
  for (const auto& nginx : rules.retired) {
    script.line("    {} daddr {} tcp dport {} counter drop", family_of(nginx.ip.is_v6()), nginx.ip.text(), nginx.port);
  }
  own_answers(script, rules);
  errors_about_names(script, rules);
  neighbour_discovery(script);
  source_routes(script);
  excluded_traffic(script, rules, "accept");
  diverted_traffic(script, rules, "accept");
  // Rerouted to loopback; whether they are is looked at in postrouting.
  script.line("    meta mark {:#x} meta l4proto udp accept", capture_mark(rules.listen_port));
  programs_jumps(script, rules);
  target_jumps(script, rules, "target");
  script.line("  }}");
}

void guard_forward_chain(Script& script, const CaptureRules& rules) {
  script.line("  chain guard_forward {{");
  script.line("    type filter hook forward priority {}; policy accept;", last_of_all);
  errors_about_names(script, rules);
  source_routes(script);
  excluded_traffic(script, rules, "accept");
  target_jumps(script, rules, "target");
  script.line("  }}");
}

void guard_postrouting_chain(Script& script, const CaptureRules& rules) {
  script.line("  chain guard_postrouting {{");
  script.line("    type filter hook postrouting priority {}; policy accept;", last_of_all);
  script.line("    oif lo accept");
  strayed(script, rules);
  own_traffic(script, rules, "accept");
  neighbour_discovery(script);
  excluded_traffic(script, rules, "accept");
  marked_programs(script, rules, false);
  diverted_traffic(script, rules, "accept");
  target_jumps(script, rules, "leave");
  script.line("  }}");
}

void inet_table(Script& script, const CaptureRules& rules, std::string_view name) {
  script.line("table inet {} {{", name);
  target_chains(script, rules, "target", true);
  target_chains(script, rules, "leave", false);  // a reset cannot be sent from postrouting
  programs_chain(script, rules);
  if (rules.untracked) untracked_chains(script, rules);
  if (rules.stand_ins) stand_ins_chain(script, rules);
  capture_chain(script, rules);
  reroute_chain(script, rules);
  divert_chain(script, rules);
  guard_output_chain(script, rules);
  guard_forward_chain(script, rules);
  guard_postrouting_chain(script, rules);
  // Who connects to the listener itself was not redirected and has no destination. Of stand-ins the redirector knows which have one.
  script.line("  chain direct_connect {{");
  script.line("    type filter hook input priority 0; policy accept;");
  label_accepted(script, rules);
  const auto mark = capture_mark(rules.listen_port);
  if (rules.stand_ins) script.line("    iif lo ip daddr {} tcp dport {} accept", net::stand_in_block, rules.listen_port);
  for (const auto port : {rules.listen_port, rules.dns_port}) {
    if (port != 0) script.line("    tcp dport {} meta mark != {:#x} ct status & dnat == 0 counter reject with tcp reset", port, mark);
  }
  script.line("  }}");
  script.line("}}");
}

}  // namespace

std::uint32_t capture_mark(std::uint16_t listen_port) { return 0xE9200000u | listen_port; }
std::uint32_t random_mark() {
  for (;;) {
    std::uint32_t mark = 0;
    [[maybe_unused]] const auto got = ::getrandom(&mark, sizeof mark, 0);
    mark = (mark & ~0xCF00u) | 0x0900u;
    const auto third = (mark >> 16) & 0xFF;
    if (mark >> 24 != 0xE9 && third != 0x04 && third != 0x08) return mark;
  }
}

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
