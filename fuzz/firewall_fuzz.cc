// What a client and a server say first: the same judgement for every split, made on few bytes and never taken back; the firewall passes
// all bytes or none, in order, and each direction by itself. The first byte picks the protocol and the direction, or the destination
// that a client asks for, on a line of its own before two allow-lists.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "functions/first_bytes.h"
#include "functions/firewall.h"

using namespace epif;
using bridge::Direction;
using functions::Judgement;

namespace {

constexpr std::size_t looked_at = 64;

void check_judgement(functions::Protocol protocol, Direction direction, ByteSpan stream) {
  const auto whole = functions::judge(protocol, direction, stream);
  auto last = Judgement::need_more;
  for (std::size_t length = 0; length <= std::min(stream.size(), looked_at); ++length) {
    const Bytes exact(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(length));
    const auto now = functions::judge(protocol, direction, exact);
    if (last != Judgement::need_more && now != last) std::abort();
    last = now;
    if (length >= functions::first_bytes_max && now == Judgement::need_more) std::abort();
  }
  if (last != whole) std::abort();
}

struct Passed {
  Bytes bytes;
  std::string fault;
  bool holds = false;
  friend bool operator==(const Passed&, const Passed&) = default;
};

Passed pass(functions::Transform& firewall, Direction direction, ByteSpan stream, std::size_t cut) {
  Passed made;
  for (const auto part : {stream.first(cut), stream.subspan(cut)}) {
    if (part.empty()) continue;
    Bytes out;
    const auto fed = firewall.feed(direction, part, out);
    if (!fed) {
      made.fault = fed.error().text();
      return made;
    }
    const ByteSpan passed = *fed == functions::Pass::as_is ? part : ByteSpan(out);
    made.bytes.insert(made.bytes.end(), passed.begin(), passed.end());
  }
  made.holds = firewall.holding();
  return made;
}

Passed play(functions::Protocol protocol, Direction direction, ByteSpan stream, std::size_t cut, bool other_too) {
  bridge::Open open;
  open.destination = "10.2.0.10:4242";
  open.parameters["protocol"] = std::string(functions::name(protocol));
  const auto firewall = functions::open_firewall(open).value();
  // The other direction's outcome is its own: whatever was said there, this one is judged as if alone.
  if (other_too) {
    const auto other = direction == Direction::to_server ? Direction::to_client : Direction::to_server;
    if (auto said = pass(*firewall, other, stream, stream.size()); said.holds) return play(protocol, direction, stream, cut, false);
  }
  auto made = pass(*firewall, direction, stream, cut);
  if (made.fault.empty() && !made.holds && made.bytes.size() != stream.size()) std::abort();
  if (!std::equal(made.bytes.begin(), made.bytes.end(), stream.begin())) std::abort();
  if (!made.bytes.empty() && !made.fault.empty()) std::abort();  // what it let through it does not blame later
  Bytes out;
  const auto ended = firewall->finish(direction, out);
  if (made.fault.empty() && ended.has_value() == made.holds) std::abort();
  if (!out.empty()) std::abort();
  return made;
}

/// Allowed by a list of two parts exactly if one of them allows; nothing if a part has a fault.
void check_lists(std::string_view text) {
  const auto line = [&] {
    const auto found = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), found.size() + 1));
    return std::string(found);
  };
  bridge::Open open;
  open.destination = line();
  const auto first = line(), second = line();
  const auto admits = [&](const std::string& list) {
    open.parameters["allow"] = list;
    const auto made = functions::open_firewall(open);
    return made ? Code::usage : made.error().code;  // no firewall fails with it
  };
  const auto one = admits(first), other = admits(second), both = admits(first + ", " + second);
  if (one != Code::usage && one != Code::denied) {
    if (both == Code::usage) std::abort();  // a list that nobody understands lets nobody through
    return;
  }
  if (other != Code::usage && other != Code::denied) return;
  if ((both == Code::usage) != (one == Code::usage || other == Code::usage)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const ByteSpan stream(data + 1, size - 1);
  if ((data[0] & 0x80) != 0) {
    check_lists(as_text(stream));
    return 0;
  }
  const auto protocol = static_cast<functions::Protocol>(data[0] % 6);
  const auto direction = (data[0] & 0x40) == 0 ? Direction::to_server : Direction::to_client;
  check_judgement(protocol, direction, stream);
  const auto whole = play(protocol, direction, stream, stream.size(), false);
  for (std::size_t cut = 0; cut <= std::min(stream.size(), looked_at); ++cut) {
    if (play(protocol, direction, stream, cut, (cut & 1) != 0) != whole) std::abort();
  }
  return 0;
}
