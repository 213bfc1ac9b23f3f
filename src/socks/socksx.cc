#include "socks/socksx.h"

#include <charconv>

#include "socks/socks5_fields.h"
#include "socks/socks6_fields.h"

namespace epif::socksx {
namespace {

using socks::Done;
using socks::Fault;
using socks::Malformed;
using socks::NeedMore;

constexpr std::uint16_t key_index = 998;
constexpr std::uint16_t key_count = 999;
constexpr std::uint16_t key_first_link = 1000;

std::optional<std::size_t> read_decimal(std::string_view text) {
  std::size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Metadata as they come, in any order; made a Chain when all are there.
class Metadata {
 public:
  /// `key(2) length(2) value padding`. False if that is impossible, or said twice.
  [[nodiscard]] bool read(ByteSpan body) {
    if (body.size() < 4) return false;
    const auto key = load_u16(body.data());
    const std::size_t length = load_u16(&body[2]);
    if (length > body.size() - 4) return false;
    const auto value = as_text(body.subspan(4, length));
    any_ = true;
    if (key == key_index) return read_number(value, index_);
    if (key == key_count) return read_number(value, count_);
    if (key < key_first_link || key >= key_first_link + links_max) return false;
    auto& link = links_[key - key_first_link];
    if (!link.empty() || value.empty()) return false;
    link = value;
    ++found_;
    return true;
  }
  [[nodiscard]] bool any() const { return any_; }
  /// Nothing if a part is missing.
  [[nodiscard]] std::optional<Chain> chain() const {
    if (!index_ || !count_ || *count_ != found_ || *index_ >= *count_) return std::nullopt;
    Chain made;
    made.index = *index_;
    for (std::size_t i = 0; i < found_; ++i) {
      if (links_[i].empty()) return std::nullopt;
      made.links.push_back(links_[i]);
    }
    return made;
  }

 private:
  static bool read_number(std::string_view text, std::optional<std::size_t>& into) {
    if (into) return false;
    into = read_decimal(text);
    return into.has_value();
  }
  std::array<std::string_view, links_max> links_{};
  std::size_t found_ = 0;
  std::optional<std::size_t> index_;
  std::optional<std::size_t> count_;
  bool any_ = false;
};

/// `byte` then, from `target_at` on, a target and then `after_target` bytes and the option block.
struct Shape {
  socks::Target target;
  ByteSpan options;
  std::size_t whole;
};
socks::Decoded<Shape> decode_shape(ByteSpan received, std::size_t target_at, std::size_t after_target) {
  if (received.empty()) return NeedMore{};
  if (received[0] != socks6::version) return Malformed{Fault::version, "not a SOCKS6 message"};
  if (received.size() < target_at) return NeedMore{};
  const auto target = socks5::decode_target(received.subspan(target_at));
  if (const auto* fault = socks::malformed(target)) return *fault;
  const auto* complete = socks::done(target);
  if (complete == nullptr) return NeedMore{};
  const std::size_t head = target_at + complete->consumed + after_target + 2;
  if (received.size() < head) return NeedMore{};
  const std::size_t length = load_u16(&received[head - 2]);
  if (const auto fault = socks6::check_options_length(length)) return *fault;
  if (received.size() < head + length) return NeedMore{};
  return Done<Shape>{{complete->message, received.subspan(head, length), head + length}, head + length};
}

}  // namespace

socks::Decoded<Request> decode_request(ByteSpan received) {
  const auto shape = decode_shape(received, 2, 1);
  if (const auto* fault = socks::malformed(shape)) return *fault;
  const auto* complete = socks::done(shape);
  if (complete == nullptr) return NeedMore{};
  Request made;
  made.request.command = static_cast<socks::Command>(received[1]);
  made.request.target = complete->message.target;
  Metadata metadata;
  socks6::OptionReader reader(complete->message.options);
  while (const auto option = reader.next()) {
    const bool ours = static_cast<std::uint16_t>(option->kind) == kind_metadata;
    const bool read = ours ? metadata.read(option->body) : socks6::read_request_option(*option, made.request.options);
    if (!read) return Malformed{Fault::option, "an option's body is impossible"};
  }
  if (reader.bad_length()) return Malformed{Fault::option, "an option's length is impossible"};
  if (metadata.any()) {
    made.chain = metadata.chain();
    if (!made.chain) return Malformed{Fault::option, "the chain metadata is not whole"};
  }
  return Done<Request>{made, complete->consumed};
}

socks::Decoded<socks6::OperationReply> decode_operation_reply(ByteSpan received) {
  const auto shape = decode_shape(received, 3, 0);
  if (const auto* fault = socks::malformed(shape)) return *fault;
  const auto* complete = socks::done(shape);
  if (complete == nullptr) return NeedMore{};
  socks6::OperationReply made;
  made.reply = static_cast<socks::Reply>(received[1]);
  made.bound = complete->message.target;
  return Done<socks6::OperationReply>{made, complete->consumed};
}

std::size_t encode_request(const socks::Target& target, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.u8(socks6::version);
  writer.u8(static_cast<std::uint8_t>(socks::Command::connect));
  if (!socks5::encode_target(target, writer)) return 0;
  writer.u8(0);
  writer.u16(8);
  socks6::encode_bytes(socks6::Kind::method_advertisement, std::array<std::uint8_t, 4>{}, writer);
  return writer.finish();
}

std::size_t encode_operation_reply(const socks6::OperationReply& reply, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.u8(socks6::version);
  writer.u8(static_cast<std::uint8_t>(reply.reply));
  writer.u8(0);
  if (!socks5::encode_target(reply.bound, writer)) return 0;
  writer.u16(0);
  return writer.finish();
}

}  // namespace epif::socksx
