#include "redirect/capture_script.h"

namespace epif::redirect {
namespace {

constexpr unsigned program_label = 113;      // a bit of a connection's label, which few others use
constexpr std::uint32_t nobody = 0xffffffff;  // what no user's number and no route's class is

std::string ports_text(const PortRange& ports) {
  return ports.first == ports.last ? fmt::format("{}", ports.first) : fmt::format("{}-{}", ports.first, ports.last);
}

}  // namespace

std::string block_match(const CaptureTarget& target) {
  return fmt::format("{} daddr {}", family_of(target.block.address.is_v6()), target.block.text());
}

std::string transport_match(const CaptureTarget& target, std::string_view protocol) {
  if (target.ports.is_all()) return fmt::format("{} meta l4proto {}", block_match(target), protocol);
  return fmt::format("{} {} dport {}", block_match(target), protocol, ports_text(target.ports));
}

std::string any_match(const CaptureTarget& target) {
  if (target.ports.is_all()) return block_match(target);
  return fmt::format("{} meta l4proto {{ tcp, udp, udplite, sctp, dccp }} th dport {}", block_match(target), ports_text(target.ports));
}

void own_traffic(Script& script, const CaptureRules& rules, std::string_view verdict) {
  for (const auto& own : rules.own) script.line("    meta mark {:#x} {} {}", rules.mark, transport_match(own, "tcp"), verdict);
  for (const auto& own : rules.own_datagrams) script.line("    meta mark {:#x} {} {}", rules.mark, transport_match(own, "udp"), verdict);
}

void untracked_chains(Script& script, const CaptureRules& rules) {
  constexpr int before_tracking = -300;
  script.line("  chain untracked_out {{");
  script.line("    type filter hook output priority {}; policy accept;", before_tracking);
  for (const auto& own : rules.own) script.line("    meta mark {:#x} {} notrack", rules.mark, transport_match(own, "tcp"));
  script.line("  }}");
  script.line("  chain untracked_in {{");
  script.line("    type filter hook prerouting priority {}; policy accept;", before_tracking);
  script.line("    iif lo return");
  for (const auto& own : rules.own) {
    const auto from = fmt::format("{} saddr {}", family_of(own.block.address.is_v6()), own.block.text());
    const auto ports = own.ports.is_all() ? std::string("0-65535") : ports_text(own.ports);
    // What opens a connection is no answer to ours.
    script.line("    {} tcp sport {} tcp flags & (syn | ack) != syn fib daddr type local notrack", from, ports);
  }
  script.line("  }}");
}

void own_answers(Script& script, const CaptureRules& rules) {
  for (const auto& target : rules.targets) {
    const auto family = family_of(target.block.address.is_v6());
    script.line("    meta mark {:#x} {} saddr {} meta l4proto udp fib daddr type local accept", rules.mark, family, target.block.text());
  }
  if (rules.dns_port != 0) script.line("    meta mark {:#x} udp sport 53 fib daddr type local accept", rules.mark);
}

void strayed(Script& script, const CaptureRules& rules) {
  script.line("    meta mark {:#x} counter drop", capture_mark(rules.listen_port));
}

void excluded_traffic(Script& script, const CaptureRules& rules, std::string_view verdict) {
  for (const auto& target : rules.excluded) script.line("    {} {}", any_match(target), verdict);
}

void excluded_programs(Script& script, const CaptureRules& rules, std::string_view verdict) {
  const auto& [users, cgroups, mark] = rules.programs;
  if (!users.empty()) script.line("    meta skuid {{ {} }} {}", fmt::join(users, ", "), verdict);
  for (const auto& cgroup : cgroups) {
    if (cgroup.number != 0) script.line("    socket cgroupv2 level {} \"{}\" {}", cgroup.level(), cgroup.nft_path(), verdict);
  }
}

void label_programs(Script& script, const CaptureRules& rules) {
  const auto& users = rules.programs.users;
  if (users.empty()) return;
  script.line("    meta skuid {{ {} }} tcp flags & syn == syn ct label set {}", fmt::join(users, ", "), program_label);
}

void label_accepted(Script& script, const CaptureRules& rules) {
  for (const auto& cgroup : rules.programs.cgroups) {
    if (cgroup.number == 0) continue;
    script.line("    meta l4proto tcp ct state new socket cgroupv2 level {} \"{}\" ct label set {}", cgroup.level(),
                cgroup.nft_path(), program_label);
  }
}

void programs_chain(Script& script, const CaptureRules& rules) {
  if (rules.programs.empty()) return;
  if (!rules.programs.cgroups.empty()) {
    // An answer to who connects here has no whole socket yet by which its cgroup would show. A raw one has, and is somebody else's.
    script.line("  chain excluded_answers {{");
    script.line("    socket mark != {:#x} return", rules.programs.mark);
    script.line("    ct direction reply ct label {} meta mark set {:#x} accept", program_label, rules.programs.mark);
    script.line("  }}");
  }
  script.line("  chain {} {{", programs_chain_name);
  // Not our own, though our own user be excluded: what we carry for others would leave with it.
  script.line("    meta mark {:#x} return", rules.mark);
  excluded_programs(script, rules, fmt::format("meta mark set {:#x} accept", rules.programs.mark));
  if (!rules.programs.cgroups.empty()) {
    script.line("    tcp flags & (syn | ack) == syn | ack jump excluded_answers");
  }
  if (!rules.programs.users.empty()) {
    script.line("    meta skuid != {} return", nobody);  // true wherever a program holds the socket
    script.line("    meta l4proto tcp ct label {} meta mark set {:#x} accept", program_label, rules.programs.mark);
  }
  script.line("  }}");
}

void programs_mark_taken(Script& script, const CaptureRules& rules) {
  if (!rules.programs.empty()) script.line("    meta mark {:#x} meta mark set 0", rules.programs.mark);
}

void programs_jumps(Script& script, const CaptureRules& rules) {
  if (rules.programs.empty()) return;
  for (const auto& target : rules.targets) script.line("    {} jump {}", block_match(target), programs_chain_name);
}

void marked_programs(Script& script, const CaptureRules& rules, bool routed) {
  if (rules.programs.empty()) return;
  const auto with_route = routed ? fmt::format("meta rtclassid != {:#x} ", nobody) : std::string{};
  script.line("    meta mark {:#x} {}accept", rules.programs.mark, with_route);
}

void diverted_traffic(Script& script, const CaptureRules& rules, std::string_view verdict) {
  for (const auto& [server, nginx] : rules.diversions) {
    script.line("    {} daddr {} tcp dport {} {}", family_of(nginx.ip.is_v6()), nginx.ip.text(), nginx.port, verdict);
  }
}

void target_chains(Script& script, const CaptureRules& rules, std::string_view name, bool reset) {
  for (std::size_t i = 0; i < rules.targets.size(); ++i) {
    const auto& target = rules.targets[i];
    script.line("  chain {}{} {{", name, i);
    if (!target.ports.is_all()) {
      // On egress the kernel takes a later fragment's data for its ports.
      script.line("    {} counter drop", target.block.address.is_v6() ? "frag frag-off != 0" : "ip frag-off & 0x1fff != 0");
      script.line("    meta l4proto {{ tcp, udp, udplite, sctp, dccp }} th dport != {} return", ports_text(target.ports));
    }
    // A connection that is older than the rules learns at once that it is over; the reset goes to this node's own end.
    if (reset) script.line("    meta l4proto tcp counter reject with tcp reset");
    script.line("    counter drop");
    script.line("  }}");
  }
}

void target_jumps(Script& script, const CaptureRules& rules, std::string_view name) {
  for (std::size_t i = 0; i < rules.targets.size(); ++i) {
    script.line("    {} jump {}{}", block_match(rules.targets[i]), name, i);
  }
}

void neighbour_discovery(Script& script) {
  constexpr std::string_view discovery = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255";
  script.line("    {} ip6 daddr {{ ff02::/16, fe80::/10 }} accept", discovery);
  script.line("    {} ip6 length <= 32 limit rate 20/second accept", discovery);
}

}  // namespace epif::redirect
