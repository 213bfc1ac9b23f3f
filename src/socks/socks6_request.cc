#include <algorithm>

#include "base/limits.h"
#include "socks/socks6_fields.h"

namespace epif::socks6 {
namespace {

using socks::Done;
using socks::Fault;
using socks::Malformed;
using socks::NeedMore;

constexpr std::size_t header_bytes = 4;

std::optional<std::uint32_t> read_u32(ByteSpan body) {
  if (body.size() != 4) return std::nullopt;
  return load_u32(body.data());
}

/// Kind 2: `initial data length(2) methods padding`.
bool read_advertisement(ByteSpan body, RequestOptions& options) {
  if (body.size() < 4) return false;
  MethodAdvertisement made{load_u16(body.data()), body.subspan(2)};
  if (made.initial_data_bytes > limits::socks6_initial_data_max_bytes) return false;
  if (!options.advertisement) options.advertisement = made;
  return true;
}

/// Kind 4: `method data`. Methods other than user/password are silently not ours.
bool read_auth_data(ByteSpan body, RequestOptions& options) {
  if (body.empty()) return false;
  if (body[0] != static_cast<std::uint8_t>(Method::user_password)) return true;
  const auto credentials = socks5::decode_credentials(body.subspan(1));
  const auto* complete = socks::done(credentials);
  if (complete == nullptr) return false;
  if (!options.credentials) options.credentials = complete->message;
  return true;
}

bool read_session_id(ByteSpan body, RequestOptions& options) {
  if (body.empty()) return false;
  if (options.session_id.empty()) options.session_id = body;
  return true;
}

bool read_number(ByteSpan body, std::optional<std::uint32_t>& into) {
  const auto value = read_u32(body);
  if (value && !into) into = value;
  return value.has_value();
}

bool read_flow(ByteSpan body, RequestOptions& options) {
  const auto flow = decode_flow_option(body);
  if (flow && !options.flow) options.flow = flow;
  return flow.has_value();
}

bool read_expected_peer(ByteSpan body, RequestOptions& options) {
  const auto peer = decode_expected_peer(body);
  if (peer && !options.expected_peer) options.expected_peer = peer;
  return peer.has_value();
}

bool read_trunk(ByteSpan body, RequestOptions& options) {
  const auto trunk = decode_trunk_option(body);
  if (trunk && !options.trunk) options.trunk = trunk;
  return trunk.has_value();
}

void encode_advertisement(const MethodAdvertisement& advertisement, socks::Writer& writer) {
  const auto start = writer.size();
  writer.u16(static_cast<std::uint16_t>(Kind::method_advertisement));
  writer.u16(0);
  writer.u16(advertisement.initial_data_bytes);
  writer.bytes(advertisement.methods);
  // An option of 4 + 2 bytes is padded to 8 even without a method: a list of zeros is an empty list.
  writer.zeros(socks::padding_to_4(writer.size() - start));
  writer.patch_u16(start + 2, writer.size() - start);
}

bool encode_credentials(const Credentials& credentials, socks::Writer& writer) {
  std::array<std::uint8_t, 1 + socks5::max_message_bytes> body{};
  body[0] = static_cast<std::uint8_t>(Method::user_password);
  const auto size = socks5::encode_credentials(credentials, MutableByteSpan(body).subspan(1));
  if (size == 0) return false;
  encode_bytes(Kind::auth_data, ByteSpan(body).first(1 + size), writer);
  return true;
}

bool encode_options(const RequestOptions& options, socks::Writer& writer) {
  if (options.session_request) encode_empty(Kind::session_request, writer);
  if (!options.session_id.empty()) {
    if (options.session_id.size() % 4 != 0) return false;
    encode_bytes(Kind::session_id, options.session_id, writer);
  }
  if (options.session_teardown) encode_empty(Kind::session_teardown, writer);
  if (options.idempotence_request) encode_u32(Kind::idempotence_request, *options.idempotence_request, writer);
  if (options.token) encode_u32(Kind::idempotence_expenditure, *options.token, writer);
  if (options.advertisement) {
    if (options.advertisement->initial_data_bytes > limits::socks6_initial_data_max_bytes) return false;
    encode_advertisement(*options.advertisement, writer);
  }
  if (options.credentials && !encode_credentials(*options.credentials, writer)) return false;
  for (const auto& stack : options.stack) encode_stack_option(stack, writer);
  if (options.flow) encode_flow_option(*options.flow, writer);
  if (options.expected_peer && !encode_expected_peer(*options.expected_peer, writer)) return false;
  if (options.trunk) encode_trunk_option(*options.trunk, writer);
  return true;
}

}  // namespace

bool read_request_option(const OptionReader::Option& option, RequestOptions& options) {
  switch (option.kind) {
    case Kind::stack:
      if (const auto stack = decode_stack_option(option.body)) options.stack.add(*stack);
      return true;
    case Kind::method_advertisement: return read_advertisement(option.body, options);
    case Kind::auth_data: return read_auth_data(option.body, options);
    case Kind::session_request: options.session_request = true; return option.body.empty();
    case Kind::session_id: return read_session_id(option.body, options);
    case Kind::session_teardown: options.session_teardown = true; return option.body.empty();
    case Kind::idempotence_request: return read_number(option.body, options.idempotence_request);
    case Kind::idempotence_expenditure: return read_number(option.body, options.token);
    case Kind::flow: return read_flow(option.body, options);
    case Kind::expected_peer: return read_expected_peer(option.body, options);
    case Kind::trunk: return read_trunk(option.body, options);
    default: return true;
  }
}

bool MethodAdvertisement::offers(Method method) const {
  return method == Method::none || std::ranges::find(methods, static_cast<std::uint8_t>(method)) != methods.end();
}

socks::Decoded<Request> decode_request(ByteSpan received) {
  if (received.empty()) return NeedMore{};
  if (received[0] != version) return Malformed{Fault::version, "not a SOCKS6 request"};
  if (received.size() < header_bytes) return NeedMore{};
  const std::size_t options_length = load_u16(&received[2]);
  if (const auto fault = check_options_length(options_length)) return *fault;
  const auto target = decode_target(received.subspan(header_bytes));
  if (const auto* fault = socks::malformed(target)) return *fault;
  const auto* complete = socks::done(target);
  if (complete == nullptr) return NeedMore{};
  const std::size_t whole = header_bytes + complete->consumed + options_length;
  if (received.size() < whole) return NeedMore{};

  Request request;
  request.command = static_cast<socks::Command>(received[1]);
  request.target = complete->message;
  OptionReader reader(received.subspan(whole - options_length, options_length));
  while (const auto option = reader.next()) {
    if (!read_request_option(*option, request.options)) return Malformed{Fault::option, "an option's body is impossible"};
  }
  if (reader.bad_length()) return Malformed{Fault::option, "an option's length is impossible"};
  return Done<Request>{request, whole};
}

std::size_t encode_request(const Request& request, MutableByteSpan out) {
  socks::Writer writer(out);
  writer.u8(version);
  writer.u8(static_cast<std::uint8_t>(request.command));
  writer.u16(0);
  if (!encode_target(request.target, writer)) return 0;
  const auto start = writer.size();
  if (!encode_options(request.options, writer)) return 0;
  const auto options_length = writer.size() - start;
  if (options_length > limits::socks6_options_max_bytes) return 0;
  writer.patch_u16(2, options_length);
  return writer.finish();
}

}  // namespace epif::socks6
