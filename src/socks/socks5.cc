#include "socks/socks5.h"

#include <algorithm>

#include "base/limits.h"
#include "socks/socks5_fields.h"

namespace epif::socks5 {
namespace {

using socks::Done;
using socks::Fault;
using socks::Malformed;
using socks::NeedMore;

/// Version, one byte of meaning, one reserved byte, a target: the shape of request and reply.
struct Operation {
  std::uint8_t byte;
  socks::Target target;
};

socks::Decoded<Operation> decode_operation(ByteSpan received, std::string_view not_ours) {
  if (received.empty()) return NeedMore{};
  if (received[0] != version) return Malformed{Fault::version, not_ours};
  if (received.size() < 4) return NeedMore{};
  const auto target = decode_target(received.subspan(3));
  if (const auto* fault = socks::malformed(target)) return *fault;
  const auto* complete = socks::done(target);
  if (complete == nullptr) return NeedMore{};
  return Done<Operation>{{received[1], complete->message}, complete->consumed + 3};
}

/// Two bytes: a version and a value.
socks::Decoded<std::uint8_t> decode_pair(ByteSpan received, std::uint8_t expected, std::string_view not_ours) {
  if (received.empty()) return NeedMore{};
  if (received[0] != expected) return Malformed{Fault::version, not_ours};
  if (received.size() < 2) return NeedMore{};
  return Done<std::uint8_t>{received[1], 2};
}

std::size_t encode_pair(std::uint8_t first, std::uint8_t second, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.u8(first);
  writer.u8(second);
  return writer.finish();
}

std::size_t encode_operation(std::uint8_t byte, const socks::Target& target, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.u8(version);
  writer.u8(byte);
  writer.u8(0);
  return encode_target(target, writer) ? writer.finish() : 0;
}

}  // namespace

bool Greeting::offers(Method method) const {
  return std::ranges::find(methods, static_cast<std::uint8_t>(method)) != methods.end();
}

socks::Decoded<Greeting> decode_greeting(ByteSpan received) {
  if (received.empty()) return NeedMore{};
  if (received[0] != version) return Malformed{Fault::version, "not a SOCKS5 greeting"};
  if (received.size() < 2 || received.size() < 2u + received[1]) return NeedMore{};
  return Done<Greeting>{{received.subspan(2, received[1])}, 2u + received[1]};
}

socks::Decoded<Credentials> decode_credentials(ByteSpan received) {
  if (received.empty()) return NeedMore{};
  if (received[0] != credentials_version) return Malformed{Fault::version, "not an RFC 1929 request"};
  if (received.size() < 2) return NeedMore{};
  const std::size_t user_length = received[1];
  if (user_length == 0) return Malformed{Fault::credentials, "empty user name"};
  if (received.size() < 3 + user_length) return NeedMore{};
  const std::size_t password_length = received[2 + user_length];
  if (password_length == 0) return Malformed{Fault::credentials, "empty password"};
  const std::size_t whole = 3 + user_length + password_length;
  if (received.size() < whole) return NeedMore{};
  return Done<Credentials>{
      {as_text(received.subspan(2, user_length)), as_text(received.subspan(3 + user_length, password_length))}, whole};
}

socks::Decoded<Request> decode_request(ByteSpan received) {
  const auto operation = decode_operation(received, "not a SOCKS5 request");
  if (const auto* fault = socks::malformed(operation)) return *fault;
  const auto* complete = socks::done(operation);
  if (complete == nullptr) return NeedMore{};
  return Done<Request>{{static_cast<socks::Command>(complete->message.byte), complete->message.target}, complete->consumed};
}

socks::Decoded<Method> decode_method(ByteSpan received) {
  const auto pair = decode_pair(received, version, "not a SOCKS5 method selection");
  if (const auto* fault = socks::malformed(pair)) return *fault;
  const auto* complete = socks::done(pair);
  if (complete == nullptr) return NeedMore{};
  return Done<Method>{static_cast<Method>(complete->message), 2};
}

socks::Decoded<bool> decode_credentials_status(ByteSpan received) {
  const auto pair = decode_pair(received, credentials_version, "not an RFC 1929 status");
  if (const auto* fault = socks::malformed(pair)) return *fault;
  const auto* complete = socks::done(pair);
  if (complete == nullptr) return NeedMore{};
  return Done<bool>{complete->message == 0, 2};
}

socks::Decoded<OperationReply> decode_reply(ByteSpan received) {
  const auto operation = decode_operation(received, "not a SOCKS5 reply");
  if (const auto* fault = socks::malformed(operation)) return *fault;
  const auto* complete = socks::done(operation);
  if (complete == nullptr) return NeedMore{};
  return Done<OperationReply>{{static_cast<socks::Reply>(complete->message.byte), complete->message.target},
                              complete->consumed};
}

std::size_t encode_greeting(ByteSpan methods, MutableByteSpan out) {
  if (methods.size() > 255) return 0;
  socks::Writer writer(out);
  writer.u8(version);
  writer.u8(static_cast<std::uint8_t>(methods.size()));
  writer.bytes(methods);
  return writer.finish();
}

std::size_t encode_credentials(const Credentials& credentials, MutableByteSpan out) {
  const auto fits = [](std::string_view field) { return !field.empty() && field.size() <= limits::name_max_bytes; };
  if (!fits(credentials.user) || !fits(credentials.password)) return 0;
  socks::Writer writer(out);
  writer.u8(credentials_version);
  writer.u8(static_cast<std::uint8_t>(credentials.user.size()));
  writer.text(credentials.user);
  writer.u8(static_cast<std::uint8_t>(credentials.password.size()));
  writer.text(credentials.password);
  return writer.finish();
}

std::size_t encode_request(const Request& request, MutableByteSpan out) {
  return encode_operation(static_cast<std::uint8_t>(request.command), request.target, out);
}

std::size_t encode_method(Method method, MutableByteSpan out) {
  return encode_pair(version, static_cast<std::uint8_t>(method), out);
}

std::size_t encode_credentials_status(bool accepted, MutableByteSpan out) {
  return encode_pair(credentials_version, accepted ? 0 : 1, out);
}

std::size_t encode_reply(const OperationReply& reply, MutableByteSpan out) {
  const auto code = reply.reply == socks::Reply::timed_out ? socks::Reply::host_unreachable : reply.reply;
  return encode_operation(static_cast<std::uint8_t>(code), reply.bound, out);
}

}  // namespace epif::socks5
