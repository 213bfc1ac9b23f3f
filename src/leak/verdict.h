#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "leak/tap.h"
#include "leak/ways.h"

/// What may be concluded from what was seen. Pure.
namespace epif::leak {

/// From worst to best; what is worse hides what is better.
enum class Verdict { leak, not_proven, held, impossible };
[[nodiscard]] std::string_view name(Verdict verdict);  ///< "LEAK", "not proven", "held", "not possible here"

/// One line of the answer.
struct Finding {
  std::string part;    ///< "node" or "moment"
  std::string way;     ///< "udp/v4", "crash"
  Verdict verdict = Verdict::not_proven;
  std::string why;
};

/// What of the leaving traffic is allowed although a protected block covers it.
struct Exempt {
  std::vector<CaptureTarget> own;       ///< TCP: proxies, and destinations of direct routes
  std::vector<IpAddress> relays{};      ///< datagrams: proxies, whatever the port
  std::vector<CaptureTarget> excluded;
  std::vector<std::pair<CaptureTarget, std::uint32_t>> marks{};  ///< of the redirectors, by what each protects
  [[nodiscard]] bool covers(const Header& header) const;
};

/// True if the packet is this probe: it bears the token, or it is the connection of `attempt`, or asks every neighbour for the
/// destination's link address, which only happens to a packet that passed all rules.
[[nodiscard]] bool is_probe(const Leaving& packet, const Probe& probe, const Attempt& attempt);
/// True if the packet goes to `target` although nothing exempts it.
[[nodiscard]] bool is_towards(const Leaving& packet, const CaptureTarget& target, const Exempt& exempt);
/// "10.1.0.10 > 10.2.0.20 port 9, protocol 17".
[[nodiscard]] std::string describe(const Leaving& packet);

/// What both probes of a way gave.
struct Observation {
  Attempt attempt;                ///< towards the protected destination
  std::string leaked;             ///< what was seen of it; empty: nothing
  std::string blind;              ///< why the detector cannot be trusted; empty: it can
  Attempt control;
  bool control_seen = false;
  std::string control_place;      ///< "10.3.0.30", "a bare namespace"
};
/// A verdict with its reason, in words.
[[nodiscard]] Finding judge(std::string way, const std::string& destination, const Observation& seen);

/// One line for each way: the worst of its destinations, in the order in which the ways came first.
[[nodiscard]] std::vector<Finding> worst_by_way(const std::vector<Finding>& findings);
/// 0 all held, 3 a leak, 1 something is not proven (or nothing was tried).
[[nodiscard]] int exit_code(const std::vector<Finding>& findings);
[[nodiscard]] std::string print_text(const Finding& finding);  ///< one line, without its end
[[nodiscard]] std::string print_json(const std::vector<Finding>& findings);

}  // namespace epif::leak
