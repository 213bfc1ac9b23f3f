#include "observe/dns_answer.h"

namespace epif::observe {
namespace {

constexpr std::size_t head_bytes = 12;
constexpr int most_pointers = 32;

/// Reads a message from front to back; a breach of the format makes it fail for good.
class Reader {
 public:
  explicit Reader(ByteSpan message) : message_(message) {}
  [[nodiscard]] bool failed() const { return failed_; }

  std::uint16_t u16() {
    const auto part = bytes(2);
    return failed_ ? std::uint16_t{0} : load_u16(part.data());
  }
  ByteSpan bytes(std::size_t count) {
    if (failed_ || message_.size() - at_ < count) {
      failed_ = true;
      return {};
    }
    const auto part = message_.subspan(at_, count);
    at_ += count;
    return part;
  }

  /// A name, with compression (RFC 1035, section 4.1.4). Pointers lead backwards only, so that it ends.
  std::string name() {
    std::string text;
    auto from = at_;
    bool jumped = false;
    for (int jumps = 0; !failed_;) {
      if (from >= message_.size()) break;
      const auto length = message_[from];
      if (length == 0) {
        if (!jumped) at_ = from + 1;
        return text;
      }
      if ((length & 0xc0) == 0xc0) {
        if (from + 1 >= message_.size() || ++jumps > most_pointers) break;
        const std::size_t to = load_u16(&message_[from]) & 0x3fffu;
        if (to >= from) break;
        if (!jumped) at_ = from + 2;
        jumped = true;
        from = to;
        continue;
      }
      if ((length & 0xc0) != 0 || from + 1 + length > message_.size() || text.size() + length > 254) break;
      if (!text.empty()) text += '.';
      for (const auto byte : message_.subspan(from + 1, length)) {
        const auto c = static_cast<char>(byte);
        text += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
      }
      from += 1u + length;
    }
    failed_ = true;
    return {};
  }

 private:
  ByteSpan message_;
  std::size_t at_ = head_bytes;
  bool failed_ = false;
};

bool is_host_name(std::string_view name) {
  for (const char c : name) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!fine) return false;
  }
  return !name.empty();
}

}  // namespace

std::optional<DnsAnswer> read_dns_answer(ByteSpan message) {
  constexpr std::uint16_t type_a = 1;
  constexpr std::uint16_t type_aaaa = 28;
  constexpr std::uint16_t internet = 1;
  if (message.size() < head_bytes) return {};
  const auto flags = load_u16(&message[2]);
  const bool is_answer = (flags & 0x8000) != 0 && (flags & 0x7800) == 0 && (flags & 0x000f) == 0;
  if (!is_answer || load_u16(&message[4]) != 1) return {};
  Reader reader(message);
  DnsAnswer answer{reader.name(), {}};
  reader.bytes(4);
  for (int left = load_u16(&message[6]); left > 0 && !reader.failed(); --left) {
    static_cast<void>(reader.name());  // an alias of it; the message is the answer to one question
    const auto type = reader.u16();
    const auto kind = reader.u16();
    reader.bytes(4);
    const auto data = reader.bytes(reader.u16());
    if (reader.failed() || kind != internet) continue;
    if (type == type_a && data.size() == 4) answer.addresses.push_back(IpAddress::v4(data));
    if (type == type_aaaa && data.size() == 16) answer.addresses.push_back(IpAddress::v6(data));
  }
  if (!is_host_name(answer.name) || answer.addresses.empty()) return {};
  return answer;
}

}  // namespace epif::observe
