#pragma once
#include "socks/socks6.h"

/// Parts that requests and replies of SOCKS6 share. Private to src/socks.
namespace epif::socks6 {

/// Walks an option block. Lengths are checked: 4 or more, a multiple of 4, within the block.
class OptionReader {
 public:
  struct Option {
    Kind kind;
    ByteSpan body;
  };
  explicit OptionReader(ByteSpan block) : rest_(block) {}
  /// The next option; nothing at the end or after a bad length.
  [[nodiscard]] std::optional<Option> next();
  [[nodiscard]] bool bad_length() const { return bad_length_; }

 private:
  ByteSpan rest_;
  bool bad_length_ = false;
};

/// `port 00 atyp address`, as requests and operation replies have it at offset 4.
[[nodiscard]] socks::Decoded<socks::Target> decode_target(ByteSpan received);
/// False if the name is empty or too long.
[[nodiscard]] bool encode_target(const socks::Target& target, socks::Writer& writer);

/// The option block's length at offset 2, checked against the draft's cap and the multiple of 4.
[[nodiscard]] std::optional<socks::Malformed> check_options_length(std::size_t length);

/// Reads one option of a request into `options`. False if the body of a known kind is impossible.
[[nodiscard]] bool read_request_option(const OptionReader::Option& option, RequestOptions& options);

void encode_empty(Kind kind, socks::Writer& writer);
void encode_u32(Kind kind, std::uint32_t value, socks::Writer& writer);
void encode_bytes(Kind kind, ByteSpan body, socks::Writer& writer);

}  // namespace epif::socks6
