#include "base/limits.h"
#include "socks/socks6_fields.h"

namespace epif::socks6 {
namespace {

using socks::Done;
using socks::Fault;
using socks::Malformed;
using socks::NeedMore;

constexpr std::size_t header_bytes = 4;

bool read_credentials_status(ByteSpan body, AuthenticationReply& reply) {
  if (body.empty()) return false;
  if (body[0] != static_cast<std::uint8_t>(Method::user_password)) return true;
  if (body.size() != 4 || body[1] != socks5::credentials_version) return false;
  if (!reply.credentials_status) reply.credentials_status = body[2];
  return true;
}

bool read_window(ByteSpan body, AuthenticationReply& reply) {
  if (body.size() != 8) return false;
  if (!reply.window) reply.window = IdempotenceWindow{load_u32(body.data()), load_u32(&body[4])};
  return true;
}

bool read_option(const OptionReader::Option& option, AuthenticationReply& reply) {
  switch (option.kind) {
    case Kind::method_selection:
      if (option.body.size() != 4) return false;
      if (!reply.selection) reply.selection = static_cast<Method>(option.body[0]);
      return true;
    case Kind::auth_data: return read_credentials_status(option.body, reply);
    case Kind::session_id:
      if (reply.session_id.empty()) reply.session_id = option.body;
      return !option.body.empty();
    case Kind::session_ok: reply.session_ok = true; return option.body.empty();
    case Kind::session_invalid: reply.session_invalid = true; return option.body.empty();
    case Kind::idempotence_window: return read_window(option.body, reply);
    case Kind::idempotence_accepted:
    case Kind::idempotence_rejected:
      if (!reply.token_accepted) reply.token_accepted = option.kind == Kind::idempotence_accepted;
      return option.body.empty();
    default: return true;
  }
}

/// Options that are not for operation replies are ignored. A session's id the draft puts into this reply in one place and into
/// the other in another: we send it in the other and take it in either. No client of ours opens sessions: it is only checked.
bool read_option(const OptionReader::Option& option, OperationReply& reply) {
  switch (option.kind) {
    case Kind::stack:
      if (const auto stack = decode_stack_option(option.body)) reply.stack.add(*stack);
      return true;
    case Kind::session_id: return !option.body.empty();
    case Kind::trunk:
      if (!reply.trunk) reply.trunk = decode_trunk_option(option.body);
      return true;
    default: return true;
  }
}

void encode_options(const AuthenticationReply& reply, socks::Writer& writer) {
  if (reply.selection) {
    encode_bytes(Kind::method_selection, std::array{static_cast<std::uint8_t>(*reply.selection)}, writer);
  }
  if (reply.credentials_status) {
    const std::array<std::uint8_t, 3> body{static_cast<std::uint8_t>(Method::user_password), socks5::credentials_version,
                                           *reply.credentials_status};
    encode_bytes(Kind::auth_data, body, writer);
  }
  if (!reply.session_id.empty()) encode_bytes(Kind::session_id, reply.session_id, writer);
  if (reply.session_ok) encode_empty(Kind::session_ok, writer);
  if (reply.session_invalid) encode_empty(Kind::session_invalid, writer);
  if (reply.window) {
    std::array<std::uint8_t, 8> body{};
    store_u32(body.data(), reply.window->base);
    store_u32(&body[4], reply.window->size);
    encode_bytes(Kind::idempotence_window, body, writer);
  }
  if (reply.token_accepted) {
    encode_empty(*reply.token_accepted ? Kind::idempotence_accepted : Kind::idempotence_rejected, writer);
  }
}

}  // namespace

socks::Decoded<AuthenticationReply> decode_authentication_reply(ByteSpan received) {
  if (received.empty()) return NeedMore{};
  if (received[0] != version) return Malformed{Fault::version, "not a SOCKS6 authentication reply"};
  if (received.size() < header_bytes) return NeedMore{};
  const std::size_t options_length = load_u16(&received[2]);
  if (const auto fault = check_options_length(options_length)) return *fault;
  const std::size_t whole = header_bytes + options_length;
  if (received.size() < whole) return NeedMore{};
  AuthenticationReply reply;
  reply.success = received[1] == 0;
  OptionReader reader(received.subspan(header_bytes, options_length));
  while (const auto option = reader.next()) {
    if (!read_option(*option, reply)) return Malformed{Fault::option, "an option's body is impossible"};
  }
  if (reader.bad_length()) return Malformed{Fault::option, "an option's length is impossible"};
  return Done<AuthenticationReply>{reply, whole};
}

socks::Decoded<OperationReply> decode_operation_reply(ByteSpan received) {
  if (received.empty()) return NeedMore{};
  if (received[0] != version) return Malformed{Fault::version, "not a SOCKS6 operation reply"};
  if (received.size() < header_bytes) return NeedMore{};
  const std::size_t options_length = load_u16(&received[2]);
  if (const auto fault = check_options_length(options_length)) return *fault;
  const auto target = decode_target(received.subspan(header_bytes));
  if (const auto* fault = socks::malformed(target)) return *fault;
  const auto* complete = socks::done(target);
  if (complete == nullptr) return NeedMore{};
  const std::size_t whole = header_bytes + complete->consumed + options_length;
  if (received.size() < whole) return NeedMore{};
  OperationReply reply;
  reply.reply = static_cast<socks::Reply>(received[1]);
  reply.bound = complete->message;
  OptionReader reader(received.subspan(whole - options_length, options_length));
  while (const auto option = reader.next()) {
    if (!read_option(*option, reply)) return Malformed{Fault::option, "an option's body is impossible"};
  }
  if (reader.bad_length()) return Malformed{Fault::option, "an option's length is impossible"};
  return Done<OperationReply>{reply, whole};
}

std::size_t encode_authentication_reply(const AuthenticationReply& reply, MutableByteSpan out) {
  if (reply.session_id.size() % 4 != 0) return 0;
  socks::Writer writer(out);
  writer.u8(version);
  writer.u8(reply.success ? 0 : 1);
  writer.u16(0);
  encode_options(reply, writer);
  if (writer.size() - header_bytes > limits::socks6_options_max_bytes) return 0;
  writer.patch_u16(2, writer.size() - header_bytes);
  return writer.finish();
}

std::size_t encode_operation_reply(const OperationReply& reply, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.u8(version);
  writer.u8(static_cast<std::uint8_t>(reply.reply));
  writer.u16(0);
  if (!encode_target(reply.bound, writer)) return 0;
  const auto start = writer.size();
  for (const auto& option : reply.stack) encode_stack_option(option, writer);
  if (reply.trunk) encode_trunk_option(*reply.trunk, writer);
  writer.patch_u16(2, writer.size() - start);
  return writer.finish();
}

}  // namespace epif::socks6
