#include "functions/firewall.h"

#include <fmt/format.h>

#include <array>

#include "base/ip.h"
#include "functions/first_bytes.h"

namespace epif::functions {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

// One entry that is no address: "name" or "name:ports".
Result<bool> name_allows(std::string_view entry, const Destination& destination) {
  const auto colon = entry.rfind(':');
  PortRange ports;
  if (colon != std::string_view::npos) {
    auto parsed = PortRange::parse(entry.substr(colon + 1));
    if (!parsed) return fail(parsed.error());
    ports = *parsed;
  }
  const auto* host = std::get_if<std::string>(&destination.host);
  return host != nullptr && same_name(entry.substr(0, colon), *host) && ports.contains(destination.port);
}

Result<bool> entry_allows(std::string_view entry, const Destination& destination) {
  const auto target = CaptureTarget::parse(entry);
  if (!target) return name_allows(entry, destination);
  const auto* address = std::get_if<IpAddress>(&destination.host);
  return address != nullptr && target->block.contains(address->unmapped()) && target->ports.contains(destination.port);
}

Result<bool> list_allows(std::string_view list, const Destination& destination) {
  bool allowed = false;
  while (!list.empty()) {
    const auto end = list.find_first_of(", ");
    const auto entry = list.substr(0, end);
    list = end == std::string_view::npos ? std::string_view{} : list.substr(end + 1);
    if (entry.empty()) continue;
    const auto one = entry_allows(entry, destination);
    if (!one) return one;
    allowed = allowed || *one;
  }
  return allowed;
}

class Firewall final : public Transform {
 public:
  explicit Firewall(Protocol protocol) : protocol_(protocol) {}

  Result<Pass> feed(Direction direction, ByteSpan in, Bytes& out) override {
    auto& side = sides_[direction == Direction::to_server ? 0 : 1];
    if (side.judged) return Pass::as_is;
    const bool fresh = side.held.empty();
    if (!fresh) side.held.insert(side.held.end(), in.begin(), in.end());
    switch (judge(protocol_, direction, fresh ? in : ByteSpan(side.held))) {
      case Judgement::differs:
        return fail(Code::bf_cut, fmt::format("first bytes are not {}", name(protocol_)), "firewall");
      case Judgement::need_more:
        if (fresh) side.held.assign(in.begin(), in.end());
        return Pass::output;
      case Judgement::fits: break;
    }
    side.judged = true;
    if (fresh) return Pass::as_is;
    out.insert(out.end(), side.held.begin(), side.held.end());
    Bytes().swap(side.held);
    return Pass::output;
  }
  Result<> finish(Direction direction, Bytes&) override {
    if (sides_[direction == Direction::to_server ? 0 : 1].held.empty()) return {};
    return fail(Code::bf_cut, fmt::format("the stream ended within the first bytes of {}", name(protocol_)), "firewall");
  }
  bool holding() const override { return !sides_[0].held.empty() || !sides_[1].held.empty(); }
  Error expired() const override {
    return {Code::timeout, fmt::format("the first bytes of {} did not come in time", name(protocol_)), "firewall"};
  }
  void report(bridge::Report& out) const override { out.detail["protocol"] = std::string(name(protocol_)); }

 private:
  struct Side {
    bool judged = false;
    Bytes held;
  };
  Protocol protocol_;
  std::array<Side, 2> sides_;
};

}  // namespace

Result<std::unique_ptr<Transform>> open_firewall(const bridge::Open& open) {
  auto protocol = Protocol::any;
  if (const auto named = open.parameters.find("protocol"); named != open.parameters.end()) {
    const auto parsed = parse_protocol(named->second);
    if (!parsed) return fail(parsed.error());
    protocol = *parsed;
  }
  if (const auto list = open.parameters.find("allow"); list != open.parameters.end()) {
    const auto destination = Destination::parse(open.destination);
    if (!destination) return fail(destination.error());
    const auto allowed = list_allows(list->second, *destination);
    if (!allowed) return fail(allowed.error());
    if (!*allowed) return fail(Code::denied, "destination " + open.destination + " is not on the allow-list");
  }
  return std::make_unique<Firewall>(protocol);
}

}  // namespace epif::functions
