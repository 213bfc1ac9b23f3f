#pragma once
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "redirect/capture.h"

/// What the texts of both tables are made of.
namespace epif::redirect {

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

[[nodiscard]] constexpr std::string_view family_of(bool v6) { return v6 ? "ip6" : "ip"; }
[[nodiscard]] std::string block_match(const CaptureTarget& target);
/// `protocol`: "tcp" or "udp".
[[nodiscard]] std::string transport_match(const CaptureTarget& target, std::string_view protocol);
/// Any transport protocol with ports; all of the block if the target names no ports.
[[nodiscard]] std::string any_match(const CaptureTarget& target);

/// Marked traffic alone could be anybody's; marked traffic to a proxy only reaches someone who asks for a certificate.
/// The redirector's own connections leave no entry in connection tracking, neither for what they send nor for what comes back.
void untracked_chains(Script& script, const CaptureRules& rules);
void own_traffic(Script& script, const CaptureRules& rules, std::string_view verdict);
/// Datagrams of the redirector to programs of this node, in the name of the destinations that it took over.
void own_answers(Script& script, const CaptureRules& rules);
/// Packets that were to turn round to loopback and leave by a device all the same: the kernel keeps those of a socket bound to a device,
/// and those to an IPv6 link-local address, on their device. Nobody else has reason to bear this mark, since it leads nowhere but here.
void strayed(Script& script, const CaptureRules& rules);
void excluded_traffic(Script& script, const CaptureRules& rules, std::string_view verdict);
/// Traffic of programs that are left alone. In output hooks only: behind them a packet's cgroup does not show.
void excluded_programs(Script& script, const CaptureRules& rules, std::string_view verdict);
/// Remembers the connections of excluded users: what the kernel sends for one that its program has closed, or not accepted yet, is
/// no user's.
void label_programs(Script& script, const CaptureRules& rules);
/// The same for connections that come in, to listeners of excluded cgroups.
void label_accepted(Script& script, const CaptureRules& rules);
/// The chain that marks and lets pass what such programs send; without programs none.
void programs_chain(Script& script, const CaptureRules& rules);
/// The only way to bear their mark is that chain: whoever brings it along loses it first.
void programs_mark_taken(Script& script, const CaptureRules& rules);
void programs_jumps(Script& script, const CaptureRules& rules);
/// Behind the output hooks the mark is all that shows of them. `routed`: only packets that the kernel has routed, no raw frames.
void marked_programs(Script& script, const CaptureRules& rules, bool routed);
/// Chains `<name>0`, `<name>1` ...: what may pass towards a protected block returns; the rest ends there.
void target_chains(Script& script, const CaptureRules& rules, std::string_view name, bool reset);
void target_jumps(Script& script, const CaptureRules& rules, std::string_view name);
/// Without these a neighbour's link address cannot be found, as ARP does for IPv4, which is not IP and passes. To one
/// neighbour (RFC 4861, reachability probes) only the fixed 32 bytes pass, and few, since a router would forward them.
void neighbour_discovery(Script& script);

void netdev_table(Script& script, const CaptureRules& rules, std::string_view name, const std::vector<std::string>& devices);

/// What goes to NGINX's ports.
void diverted_traffic(Script& script, const CaptureRules& rules, std::string_view verdict);

}  // namespace epif::redirect
