#include "base/limits.h"
#include "redirect/capture_script.h"

// The netdev table: the last look at what leaves a device.
namespace epif::redirect {
namespace {

/// A source route's last hop may be a protected destination that the address field does not show. On egress the kernel does
/// not find IPv4 options: a source route needs 7 bytes of them, so a header of more than 6 words. Router alert (IGMP), the
/// one option in real use, fits into 6.
void source_routes_of_frames(Script& script) {
  script.line("    @nh,0,4 4 @nh,4,4 > 6 counter drop");
  script.line("    exthdr rt exists counter drop");
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

}  // namespace

void netdev_table(Script& script, const CaptureRules& rules, std::string_view name, const std::vector<std::string>& devices) {
  script.line("table netdev {} {{", name);
  target_chains(script, rules, "target", false);
  disguised_chain(script, rules);
  script.line("  chain leaving {{");
  strayed(script, rules);
  own_traffic(script, rules, "accept");
  script.line("    meta protocol != {{ ip, ip6 }} jump disguised");
  script.line("    meta protocol ip @nh,0,4 != 4 jump disguised");
  script.line("    meta protocol ip6 @nh,0,4 != 6 jump disguised");
  hidden_tags(script, rules);
  neighbour_discovery(script);
  source_routes_of_frames(script);
  excluded_traffic(script, rules, "accept");
  marked_programs(script, rules, true);
  diverted_traffic(script, rules, "accept");
  target_jumps(script, rules, "target");
  script.line("  }}");
  // The kernel takes a limited number of devices in one chain.
  for (std::size_t first = 0; first < devices.size(); first += limits::capture_chain_devices) {
    const auto last = std::min(devices.size(), first + limits::capture_chain_devices);
    script.line("  chain guard_egress{} {{", first / limits::capture_chain_devices);
    script.line("    type filter hook egress devices = {{ \"{}\" }} priority 0; policy accept;",
                fmt::join(devices.begin() + static_cast<std::ptrdiff_t>(first), devices.begin() + static_cast<std::ptrdiff_t>(last),
                          "\", \""));
    script.line("    jump leaving");
    script.line("  }}");
  }
  script.line("}}");
}

}  // namespace epif::redirect
