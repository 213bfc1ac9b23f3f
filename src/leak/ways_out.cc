#include "leak/ways_out.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "leak/bare_lab.h"
#include "leak/local_route.h"
#include "leak/rules.h"
#include "leak/tap.h"
#include "redirect/capture.h"

namespace epif::leak {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds control_patience{limits::leak_control_patience_ms};
constexpr int bare_attempts = 3;
constexpr std::uint8_t udp_protocol = 17;

/// What a probe did, on this side and in the tap.
struct Trial {
  Attempt attempt;
  std::vector<Leaving> left;
  std::uint64_t unseen = 0;  ///< packets that the device counted and no tap saw
  bool settled = true;
};

/// Sends one probe. A control is waited for; for all others a mark behind it tells that there is nothing more to come.
Trial try_once(Tap& tap, const Way& way, const Probe& probe, bool control) {
  tap.read();
  tap.seen.clear();
  const auto tapped = tap.count[probe.device.index];
  const auto sent = sent_by(probe.device);
  Trial trial{way.send(probe), {}, 0, true};
  const auto there = [&] {
    return std::ranges::any_of(tap.seen, [&](const Leaving& packet) { return is_probe(packet, probe, trial.attempt); });
  };
  if (control && !way.unseen) {
    tap.read_until(there, control_patience);
  } else {
    trial.settled = tap.settle(probe.device, control_patience);
    tap.read();
  }
  if (way.unseen) {
    constexpr std::uint64_t our_mark = 1;
    const auto counted = sent_by(probe.device) - sent;
    const auto known = tap.count[probe.device.index] - tapped + our_mark;
    trial.unseen = counted > known ? counted - known : 0;
  }
  trial.left = std::move(tap.seen);
  tap.seen.clear();
  return trial;
}

bool was_seen(const Way& way, const Trial& trial, const Probe& probe) {
  if (way.unseen) return trial.unseen >= std::uint64_t{batch};
  return std::ranges::any_of(trial.left, [&](const Leaving& packet) { return is_probe(packet, probe, trial.attempt); });
}

/// One run over all ways, destinations and families.
class Run {
 public:
  Run(Tap& tap, Exempt exempt, std::vector<CaptureTarget> targets, std::vector<std::string> names, std::vector<IpAddress> controls)
      : tap_(tap), exempt_(std::move(exempt)), targets_(std::move(targets)), names_(std::move(names)), controls_(std::move(controls)) {
    taken_ = local_addresses();
    for (const auto& own : exempt_.own) taken_.push_back(own.block.address);
  }

  std::vector<Finding> go(const OnFinding& found, const std::stop_token& stop) {
    std::vector<Finding> lines;
    for (const auto ways : {socket_ways(), raw_ways(), frame_ways()}) {
      for (const auto& way : ways) {
        for (const bool v6 : {false, true}) {
          if (stop.stop_requested()) return lines;
          if (v6 ? !way.v6 : !way.v4) continue;
          if (way.named ? names_.empty() || !resolver(v6) : !has_target(v6)) continue;
          lines.push_back(way.named ? try_names(way, v6) : try_way(way, v6));
          found(lines.back());
        }
      }
    }
    lines.push_back(bystanders());
    found(lines.back());
    return lines;
  }

 private:
  [[nodiscard]] bool has_target(bool v6) const {
    return std::ranges::any_of(targets_, [&](const CaptureTarget& target) { return target.block.address.is_v6() == v6; });
  }
  [[nodiscard]] std::optional<IpAddress> control(bool v6) const {
    const auto at = std::ranges::find(controls_, v6, &IpAddress::is_v6);
    return at == controls_.end() ? std::nullopt : std::optional(*at);
  }

  /// Whom a question for a protected name is sent to: best somebody whom nothing else keeps it from.
  [[nodiscard]] std::optional<IpAddress> resolver(bool v6) const {
    if (const auto open = control(v6)) return open;
    const auto at = std::ranges::find(targets_, v6, [](const CaptureTarget& target) { return target.block.address.is_v6(); });
    return at == targets_.end() ? std::nullopt : std::optional(address_in(at->block, taken_));
  }

  /// A question for a protected name tells a stranger what this node is about to do, and its answer leads around the guard.
  Finding try_names(const Way& way, bool v6) {
    const auto label = fmt::format("{}/{}", way.name, v6 ? "v6" : "v4");
    const auto asked = *resolver(v6);
    const auto route = route_to(asked);
    if (!route) return {"node", label, Verdict::impossible, "no device leads to " + asked.text()};
    std::vector<Finding> all;
    for (const auto& name : names_) {
      const Probe probe{wire_name(name), asked, way.port, route->from, asked, route->device, 0, true};
      if (probe.token.empty()) continue;
      Observation seen;
      try_control(way, probe, {}, seen);
      const auto trial = try_once(tap_, way, probe, false);
      seen.attempt = trial.attempt;
      for (const auto& packet : trial.left) {
        // No exemption of relays: they are proxies, and this is no datagram of theirs.
        const bool leg = packet.header && packet.header->protocol != udp_protocol && exempt_.covers(*packet.header);
        if (is_probe(packet, probe, trial.attempt) && !leg && seen.leaked.empty()) seen.leaked = describe(packet);
      }
      note_others(trial, probe);
      note_blindness(trial, probe, seen);
      all.push_back(judge(label, fmt::format("{} for {}", asked.text(), name), seen));
    }
    if (all.empty()) return {"node", label, Verdict::impossible, "no route has a name that DNS can ask for"};
    return worst_by_way(all).front();
  }

  void note_blindness(const Trial& trial, const Probe& probe, Observation& seen) {
    if (!trial.settled) seen.blind = "the detector's own mark did not leave by " + probe.device.name;
    if (const auto lost = tap_.lost(); lost != 0) seen.blind = fmt::format("the detector lost {} packets", lost);
  }

  Finding try_way(const Way& way, bool v6) {
    const auto label = fmt::format("{}/{}", way.name, v6 ? "v6" : "v4");
    std::vector<Finding> all;
    for (const auto& target : targets_) {
      if (target.block.address.is_v6() != v6) continue;
      all.push_back(try_target(way, label, target));
    }
    return worst_by_way(all).front();
  }

  Finding try_target(const Way& way, const std::string& label, const CaptureTarget& target) {
    const bool v6 = target.block.address.is_v6();
    if (way.port != 0 && !target.ports.contains(way.port)) {
      return {"node", label, Verdict::impossible, fmt::format("the rules of {} leave port {} open", target.text(), way.port)};
    }
    Probe probe{make_token(), address_in(target.block, taken_), port_of(way, target), {}, {}, {}, mark_for(target)};
    const auto unprotected = control(v6);
    auto route = unprotected ? route_to(*unprotected) : std::nullopt;
    if (!route) route = route_to(probe.to);
    if (!route) return {"node", label, Verdict::impossible, "no device leads to " + probe.to.text()};
    probe.from = route->from;
    probe.device = route->device;
    probe.via = unprotected.value_or(probe.to);
    Observation seen;
    try_control(way, probe, unprotected, seen);
    const auto trial = try_once(tap_, way, probe, false);
    seen.attempt = trial.attempt;
    seen.leaked = leaked(way, trial, probe, target);
    note_blindness(trial, probe, seen);
    return judge(label, probe.to.text(), seen);
  }

  /// A target that no rules name may still be behind somebody's mark.
  [[nodiscard]] std::uint32_t mark_for(const CaptureTarget& target) const {
    if (exempt_.marks.empty()) return redirect::own_mark;
    const auto guard = std::ranges::find(exempt_.marks, target, &std::pair<CaptureTarget, std::uint32_t>::first);
    return guard == exempt_.marks.end() ? exempt_.marks.front().second : guard->second;
  }

  [[nodiscard]] static std::uint16_t port_of(const Way& way, const CaptureTarget& target) {
    constexpr std::uint16_t discard = 9;
    if (way.port != 0) return way.port;
    return target.ports.contains(discard) ? discard : target.ports.first;
  }

  /// The same way to an address that nothing protects: from this node, or, where there is none, from a namespace without rules.
  void try_control(const Way& way, const Probe& probe, const std::optional<IpAddress>& unprotected, Observation& seen) {
    if (unprotected && !way.bare_control) {
      auto same = probe;
      same.token = make_token();
      same.to = *unprotected;
      seen.control_place = unprotected->text();
      const auto trial = try_once(tap_, way, same, true);
      note_others(trial, same);
      seen.control = trial.attempt;
      seen.control_seen = was_seen(way, trial, same);
      return;
    }
    seen.control_place = "a bare namespace";
    if (!bare_) {
      auto made = BareLab::make();
      if (!made) {
        seen.control.reason = made.error().text();
        return;
      }
      bare_ = std::move(*made);
    }
    const Inside there(bare_->near());
    auto tap = Tap::open();
    if (!tap) return;
    const bool v6 = probe.to.is_v6();
    Probe same{make_token(), BareLab::target(v6), probe.port, BareLab::near_address(v6), BareLab::gate(v6), {}};
    const auto route = route_to(same.to);
    if (!route) return;
    same.device = route->device;
    // Its device is new, and the kernel drops what is sent before the device's queue stands.
    for (int attempt = 0; attempt < bare_attempts && !seen.control_seen; ++attempt) {
      const auto trial = try_once(**tap, way, same, true);
      seen.control = trial.attempt;
      seen.control_seen = was_seen(way, trial, same);
    }
  }

  std::string leaked(const Way& way, const Trial& trial, const Probe& probe, const CaptureTarget& target) {
    if (way.unseen && trial.unseen >= std::uint64_t{batch}) {
      return fmt::format("{} counted {} packets that no tap saw{}{}", probe.device.name, trial.unseen, way.advice.empty() ? "" : "; ", way.advice);
    }
    std::string first;
    for (const auto& packet : trial.left) {
      const bool ours = is_probe(packet, probe, trial.attempt) && !(packet.header && exempt_.covers(*packet.header));
      const bool towards = packet.header && packet.header->to == probe.to && is_towards(packet, target, exempt_);
      if ((ours || towards) && first.empty()) first = describe(packet);
    }
    if (first.empty()) note_others(trial, probe);
    return first;
  }

  /// What other programs of the node sent meanwhile, and what of a probe came late.
  void note_others(const Trial& trial, const Probe& probe) {
    for (const auto& packet : trial.left) {
      if (is_probe(packet, probe, trial.attempt)) continue;
      const auto towards = [&](const CaptureTarget& target) { return is_towards(packet, target, exempt_); };
      if (std::ranges::any_of(targets_, towards) && other_.empty()) other_ = describe(packet);
      ++others_;
    }
  }

  Finding bystanders() {
    tap_.read();
    note_others({{}, std::move(tap_.seen), 0, true}, {.token = make_token(), .to = {}, .from = {}, .via = {}, .device = {}});
    Finding line{"node", "other-traffic", Verdict::held, fmt::format("{} packets of other programs, none to a protected destination", others_)};
    if (!other_.empty()) {
      line.verdict = Verdict::leak;
      line.why = other_ + " left this node, and was no probe of its moment";
    } else if (const auto lost = tap_.lost(); lost != 0) {
      line.verdict = Verdict::not_proven;
      line.why = fmt::format("the detector lost {} packets", lost);
    }
    return line;
  }

  Tap& tap_;
  Exempt exempt_;
  std::vector<CaptureTarget> targets_;
  std::vector<std::string> names_;
  std::vector<IpAddress> controls_;
  std::vector<IpAddress> taken_;
  std::unique_ptr<BareLab> bare_;
  std::string other_;
  std::uint64_t others_ = 0;
};

bool is_protected(const IpAddress& address, const std::vector<CaptureTarget>& targets) {
  return std::ranges::any_of(targets, [&](const CaptureTarget& target) { return target.block.contains(address); });
}

/// A proxy's address of each family: unprotected, and not of this node.
std::vector<IpAddress> controls_of(const Exempt& exempt, const std::vector<CaptureTarget>& targets) {
  std::vector<IpAddress> chosen;
  for (const auto& own : exempt.own) {
    const auto& address = own.block.address;
    const bool host = own.block.prefix == (address.is_v6() ? 128 : 32);
    const bool known = std::ranges::any_of(chosen, [&](const IpAddress& other) { return other.is_v6() == address.is_v6(); });
    if (host && !known && !is_protected(address, targets) && route_to(address)) chosen.push_back(address);
  }
  return chosen;
}

}  // namespace

IpAddress address_in(const Cidr& block, const std::vector<IpAddress>& taken) {
  const auto begin = block.address.bytes();
  Bytes bytes(begin.begin(), begin.end());
  const auto bits = bytes.size() * 8;
  const auto make = [&] { return block.address.is_v6() ? IpAddress::v6(bytes) : IpAddress::v4(bytes); };
  if (block.prefix + 2u > bits) return block.address;
  constexpr int most_tries = 250;
  for (int host = 1; host < most_tries; ++host) {
    bytes.back() = static_cast<std::uint8_t>(begin.back() + host);
    const auto address = make();
    if (!block.contains(address)) break;
    if (std::ranges::find(taken, address) == taken.end()) return address;
  }
  return block.address;
}

std::optional<Finding> untried_of(std::size_t targets, std::size_t names) {
  constexpr auto most = limits::leak_targets;
  if (targets <= most && names <= most) return {};
  std::string what;
  if (targets > most) what = fmt::format("{} of {} protected destinations (name them by --target)", targets - most, targets);
  if (names > most) what += fmt::format("{}{} of {} protected names", what.empty() ? "" : " and ", names - most, names);
  return Finding{"node", "untried", Verdict::not_proven, fmt::format("{} were not tried: a run takes the first {}", what, most)};
}

Result<std::vector<Finding>> try_ways_out(const NodeWish& wish, const OnFinding& found, const std::stop_token& stop) {
  auto known = guards(wish.state_dir);
  if (!known) return fail(std::move(known.error()));
  auto targets = wish.targets;
  Exempt exempt;
  std::vector<std::string> names;
  for (const auto& guard : *known) {
    names.insert(names.end(), guard.names.begin(), guard.names.end());
    if (wish.targets.empty()) targets.insert(targets.end(), guard.targets.begin(), guard.targets.end());
    for (const auto& target : guard.targets) {
      if (guard.mark != 0) exempt.marks.emplace_back(target, guard.mark);
    }
    exempt.own.insert(exempt.own.end(), guard.own.begin(), guard.own.end());
    exempt.excluded.insert(exempt.excluded.end(), guard.excluded.begin(), guard.excluded.end());
  }
  if (targets.empty()) {
    return fail(Code::not_found, "no redirector protects anything in this network namespace", "epif leak-test", {},
                "start `epif redirect`, or name a --target");
  }
  for (const auto& own : exempt.own) {
    // A direct route's destination is protected itself; only a proxy relays datagrams.
    if (std::ranges::find(targets, own) == targets.end()) exempt.relays.push_back(own.block.address);
  }
  std::optional<Finding> untried = untried_of(targets.size(), names.size());
  if (targets.size() > limits::leak_targets) targets.resize(limits::leak_targets);
  if (names.size() > limits::leak_targets) names.resize(limits::leak_targets);
  for (const auto& control : wish.controls) {
    if (is_protected(control, targets)) {
      return fail(Code::usage, "a protected destination cannot be the control", "--control " + control.text(), {}, "name one that no rule covers");
    }
  }
  auto controls = wish.controls;
  for (const auto& address : controls_of(exempt, targets)) {
    const bool chosen = std::ranges::any_of(controls, [&](const IpAddress& other) { return other.is_v6() == address.is_v6(); });
    if (!chosen) controls.push_back(address);
  }
  auto tap = Tap::open();
  if (!tap) return fail(std::move(tap.error()));
  auto lines = Run(**tap, std::move(exempt), std::move(targets), std::move(names), std::move(controls)).go(found, stop);
  if (untried && !stop.stop_requested()) {
    lines.push_back(*untried);
    found(lines.back());
  }
  return lines;
}

}  // namespace epif::leak
