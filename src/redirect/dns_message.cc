#include "redirect/dns_message.h"

#include "base/limits.h"

namespace epif::redirect {
namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::uint16_t flag_answer = 0x8000;
constexpr std::uint16_t flag_authoritative = 0x0400;
constexpr std::uint16_t flag_recursion_wished = 0x0100;
constexpr std::uint16_t flag_recursion_done = 0x0080;
constexpr std::uint16_t operation_bits = 0x7800;
constexpr std::uint16_t refused = 5;
constexpr std::size_t label_max_bytes = 63;
constexpr std::size_t whole_name_max_bytes = 255;

void put_u16(Bytes& out, std::uint16_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

/// Header and question of an answer.
Bytes begin_answer(ByteSpan query, const DnsQuestion& question, std::uint16_t flags, std::size_t answers) {
  Bytes out;
  put_u16(out, question.id);
  put_u16(out, static_cast<std::uint16_t>(flag_answer | (load_u16(query.data() + 2) & flag_recursion_wished) | flags));
  put_u16(out, 1);
  put_u16(out, static_cast<std::uint16_t>(answers));
  put_u16(out, 0);
  put_u16(out, 0);
  out.insert(out.end(), query.begin() + header_bytes, query.begin() + static_cast<std::ptrdiff_t>(question.end));
  return out;
}

}  // namespace

std::optional<DnsQuestion> read_question(ByteSpan message) {
  if (message.size() < header_bytes) return {};
  const auto flags = load_u16(message.data() + 2);
  if ((flags & (flag_answer | operation_bits)) != 0 || load_u16(message.data() + 4) != 1) return {};
  DnsQuestion question;
  question.id = load_u16(message.data());
  std::size_t at = header_bytes;
  for (;;) {
    if (at >= message.size()) return {};
    const std::size_t length = message[at++];
    if (length == 0) break;
    if (length > label_max_bytes || at + length > message.size() || at - header_bytes + length > whole_name_max_bytes) return {};
    if (!question.name.empty()) question.name += '.';
    for (const auto byte : message.subspan(at, length)) {
      question.name += static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte);
    }
    at += length;
  }
  if (at + 4 > message.size()) return {};
  question.type = load_u16(message.data() + at);
  question.klass = load_u16(message.data() + at + 2);
  question.end = at + 4;
  return question;
}

Bytes dns_answer(ByteSpan query, const DnsQuestion& question, const std::vector<IpAddress>& addresses) {
  std::vector<IpAddress> wanted;
  for (const auto& address : addresses) {
    if (question.klass == dns::class_in && question.type == (address.is_v6() ? dns::type_aaaa : dns::type_a)) wanted.push_back(address);
  }
  auto out = begin_answer(query, question, flag_authoritative | flag_recursion_done, wanted.size());
  for (const auto& address : wanted) {
    put_u16(out, 0xC000 | header_bytes);  // the question's name
    put_u16(out, question.type);
    put_u16(out, dns::class_in);
    put_u16(out, 0);
    put_u16(out, limits::dns_lifetime_s);
    put_u16(out, static_cast<std::uint16_t>(address.bytes().size()));
    out.insert(out.end(), address.bytes().begin(), address.bytes().end());
  }
  return out;
}

Bytes dns_refusal(ByteSpan query, const DnsQuestion& question) {
  return begin_answer(query, question, flag_recursion_done | refused, 0);
}

}  // namespace epif::redirect
