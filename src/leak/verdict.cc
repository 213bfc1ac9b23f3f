#include "leak/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>

namespace epif::leak {
namespace {

constexpr std::uint8_t tcp = 6;
constexpr std::uint8_t udp = 17;
constexpr std::uint16_t arp_type = 0x0806;

bool covers(const CaptureTarget& target, const Header& header) {
  if (!target.block.contains(header.to.unmapped())) return false;
  return target.ports.is_all() || header.to_port == 0 || target.ports.contains(header.to_port);
}

bool looks_for(const Leaving& packet, const IpAddress& address) {
  if (packet.declared == arp_type) return packet.to_all && asked_by_arp(packet.bytes) == address;
  return packet.to_all && packet.header && packet.header->asked == address;
}

}  // namespace

std::string_view name(Verdict verdict) {
  constexpr std::array<std::string_view, 4> names{"LEAK", "not proven", "held", "not possible here"};
  return names[static_cast<std::size_t>(verdict)];
}

bool Exempt::covers(const Header& header) const {
  if (header.neighbour) return true;
  const auto fits = [&](const CaptureTarget& target) { return leak::covers(target, header); };
  if (!header.plain) return false;
  if (header.protocol == tcp && std::ranges::any_of(own, fits)) return true;
  if (header.protocol == udp && std::ranges::find(relays, header.to) != relays.end()) return true;
  return std::ranges::any_of(excluded, fits);
}

bool is_probe(const Leaving& packet, const Probe& probe, const Attempt& attempt) {
  if (as_text(packet.bytes).contains(probe.token)) return true;
  // Others may ask for the link address of a resolver.
  if (!probe.named && looks_for(packet, probe.to)) return true;
  return attempt.from_port != 0 && packet.header && packet.header->to == probe.to && packet.header->from_port == attempt.from_port;
}

bool is_towards(const Leaving& packet, const CaptureTarget& target, const Exempt& exempt) {
  return packet.declared != arp_type && packet.header && covers(target, *packet.header) && !exempt.covers(*packet.header);
}

std::string describe(const Leaving& packet) {
  if (packet.declared == arp_type) return "an ARP request for its link address";
  if (!packet.header) return fmt::format("a frame declared as {:#06x}", packet.declared);
  const auto& header = *packet.header;
  if (header.asked) return "a neighbour solicitation for " + header.asked->text();
  const auto port = header.to_port == 0 ? std::string{} : fmt::format(" port {}", header.to_port);
  return fmt::format("{} > {}{}, protocol {}", header.from.text(), header.to.text(), port, header.protocol);
}

Finding judge(std::string way, const std::string& destination, const Observation& seen) {
  using enum Attempt::Outcome;
  Finding finding{"node", std::move(way), Verdict::not_proven, {}};
  if (!seen.leaked.empty()) {
    finding.verdict = Verdict::leak;
    finding.why = fmt::format("to {} there left: {}", destination, seen.leaked);
  } else if (seen.attempt.outcome == impossible) {
    finding.verdict = Verdict::impossible;
    finding.why = seen.attempt.reason;
  } else if (!seen.blind.empty()) {
    finding.why = seen.blind;
  } else if (!seen.control_seen) {
    const auto what = seen.control.reason.empty() ? std::string("was not seen") : "was not sent: " + seen.control.reason;
    finding.why = seen.control_place.empty() ? "there is no unprotected address for a control; give --control"
                                             : fmt::format("the control to {} {}", seen.control_place, what);
  } else {
    finding.verdict = Verdict::held;
    const auto how = seen.attempt.outcome == refused ? "refused to the sender (" + seen.attempt.reason + ")" : std::string("nothing left");
    finding.why = fmt::format("to {}: {}; the control to {} was seen", destination, how, seen.control_place);
  }
  return finding;
}

std::vector<Finding> worst_by_way(const std::vector<Finding>& findings) {
  std::vector<Finding> worst;
  for (const auto& finding : findings) {
    const auto same = [&](const Finding& other) { return other.part == finding.part && other.way == finding.way; };
    const auto at = std::ranges::find_if(worst, same);
    if (at == worst.end()) {
      worst.push_back(finding);
    } else if (finding.verdict < at->verdict) {
      *at = finding;
    }
  }
  return worst;
}

int exit_code(const std::vector<Finding>& findings) {
  const auto has = [&](Verdict verdict) { return std::ranges::any_of(findings, [&](const Finding& f) { return f.verdict == verdict; }); };
  if (has(Verdict::leak)) return 3;
  return has(Verdict::not_proven) || !has(Verdict::held) ? 1 : 0;
}

std::string print_text(const Finding& finding) {
  return fmt::format("{:<17}  {:<6} {:<28}  {}", name(finding.verdict), finding.part, finding.way, finding.why);
}

std::string print_json(const std::vector<Finding>& findings) {
  boost::json::array list;
  for (const auto& finding : findings) {
    auto verdict = std::string(name(finding.verdict));
    std::ranges::transform(verdict, verdict.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    list.push_back(boost::json::object{{"part", finding.part}, {"way", finding.way}, {"verdict", verdict}, {"why", finding.why}});
  }
  return boost::json::serialize(boost::json::object{{"findings", std::move(list)}, {"exit", exit_code(findings)}}) + "\n";
}

}  // namespace epif::leak
