#include "proxy/listening.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace epif::proxy {
namespace {

constexpr std::array<std::string_view, 3> kinds{"clear", "tls", "datagrams"};

}  // namespace

std::string print_listening(const Listening& listening) {
  return fmt::format("{} {} {}", kinds[static_cast<std::size_t>(listening.kind)], listening.address.text(), listening.index);
}

Result<Listening> parse_listening(std::string_view text) {
  const auto broken = [&] { return fail(Code::protocol, "the running proxy hands over something unknown", std::string(text)); };
  const auto first = text.find(' ');
  const auto second = text.find(' ', first == text.npos ? first : first + 1);
  if (second == text.npos) return broken();
  Listening listening;
  const auto kind = std::ranges::find(kinds, text.substr(0, first));
  if (kind == kinds.end()) return broken();
  listening.kind = static_cast<Listening::Kind>(kind - kinds.begin());
  const auto address = SocketAddress::parse(text.substr(first + 1, second - first - 1));
  if (!address) return broken();
  listening.address = *address;
  const auto number = text.substr(second + 1);
  const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), listening.index);
  if (failure != std::errc{} || end != number.data() + number.size()) return broken();
  return listening;
}

}  // namespace epif::proxy
