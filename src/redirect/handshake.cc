#include "redirect/handshake.h"

#include <fmt/format.h>

#include <array>

#include "base/limits.h"
#include "socks/socks6.h"

namespace epif::redirect {
namespace {

using net::Task;
using net::TimePoint;

/// Appends what the proxy sends next.
Task<Result<>> receive(net::Stream& proxy, Bytes& received, TimePoint deadline) {
  for (;;) {
    // The scratch buffer is emptied before the next wait.
    const auto buffer = proxy.loop().scratch();
    const net::Io io = proxy.read_some(buffer);
    if (io.state == net::Io::State::moved) {
      received.insert(received.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(io.bytes));
      co_return Result<>{};
    }
    if (io.state == net::Io::State::end) {
      co_return fail(Code::protocol, "the proxy ended the connection before it answered");
    }
    if (io.state == net::Io::State::failed) co_return fail(proxy.error());
    auto ready = co_await proxy.readable(deadline);
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

std::unexpected<Error> malformed_reply(const socks::Malformed& malformed) {
  return fail(Code::protocol, "the proxy's answer is not SOCKS", "", std::string(malformed.what));
}

std::unexpected<Error> refused(socks::Reply reply) {
  const auto code = socks::code_for(reply);
  return fail(code, "the proxy refused the connection", "",
              fmt::format("SOCKS reply {} ({})", static_cast<int>(reply), name(code)));
}

void erase_front(Bytes& bytes, std::size_t count) {
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
}

/// Decodes one message from the front of `received`, reading more as needed, and removes it; `use` gets the message.
template <class Message, class Use>
Task<Result<>> next_message(net::Stream& proxy, Bytes& received, TimePoint deadline,
                            socks::Decoded<Message> (*decode)(ByteSpan), Use use) {
  for (;;) {
    auto decoded = decode(received);
    if (const auto* bad = socks::malformed<Message>(decoded)) co_return malformed_reply(*bad);
    if (const auto* whole = socks::done<Message>(decoded)) {
      use(whole->message);
      erase_front(received, whole->consumed);
      co_return Result<>{};
    }
    if (received.size() > limits::handshake_max_bytes) co_return fail(Code::protocol, "the proxy's answer has no end");
    auto more = co_await receive(proxy, received, deadline);
    if (!more) co_return fail(std::move(more.error()));
  }
}

}  // namespace

Result<Bytes> socks6_request(const Wish& wish, ByteSpan initial) {
  socks6::Request request;
  request.command = wish.command;
  request.target = socks::Target::of(wish.destination);
  if (!initial.empty()) {
    request.options.advertisement.emplace();
    request.options.advertisement->initial_data_bytes = static_cast<std::uint16_t>(initial.size());
  }
  if (wish.user != nullptr) request.options.credentials = socks6::Credentials{wish.user->name, wish.user->password};
  if (wish.fast_open) request.options.stack.add(socks6::FastOpen{});
  request.options.trunk = wish.trunk;
  if (!wish.flow.empty()) request.options.flow = socks6::FlowOption{wish.flow, {}};
  std::array<std::uint8_t, socks6::max_sent_bytes> head;
  const auto size = socks6::encode_request(request, head);
  if (size == 0) return fail(Code::invalid_input, "the destination does not fit a SOCKS6 request", wish.destination.text());
  Bytes message;
  message.reserve(size + initial.size());
  message.assign(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(size));
  message.insert(message.end(), initial.begin(), initial.end());
  return message;
}

Task<Result<Bytes>> socks6_replies(net::Stream& proxy, TimePoint deadline, std::optional<socks6::TrunkOption>* trunk) {
  Bytes received;
  bool authenticated = false;
  auto reply = co_await next_message<socks6::AuthenticationReply>(
      proxy, received, deadline, socks6::decode_authentication_reply,
      [&](const socks6::AuthenticationReply& message) { authenticated = message.success; });
  if (!reply) co_return fail(std::move(reply.error()));
  if (!authenticated) co_return fail(Code::unauthenticated, "the proxy does not accept who we are");
  auto result = socks::Reply::general_failure;
  reply = co_await next_message<socks6::OperationReply>(proxy, received, deadline, socks6::decode_operation_reply,
                                                        [&](const socks6::OperationReply& message) {
                                                          result = message.reply;
                                                          if (trunk != nullptr) *trunk = message.trunk;
                                                        });
  if (!reply) co_return fail(std::move(reply.error()));
  if (result != socks::Reply::success) co_return refused(result);
  co_return received;
}

Task<Result<>> socks5_authenticate(net::Stream& proxy, const ProxyUser* user, TimePoint deadline) {
  std::array<std::uint8_t, socks5::max_message_bytes> message;
  const std::array methods{static_cast<std::uint8_t>(socks5::Method::none),
                           static_cast<std::uint8_t>(socks5::Method::user_password)};
  const auto offered = ByteSpan(methods).first(user == nullptr ? 1 : 2);
  auto size = socks5::encode_greeting(offered, message);
  auto sent = co_await net::write_all(proxy, ByteSpan(message).first(size), deadline);
  if (!sent) co_return fail(std::move(sent.error()));
  Bytes received;
  auto method = socks5::Method::unacceptable;
  auto reply = co_await next_message<socks5::Method>(proxy, received, deadline, socks5::decode_method,
                                                     [&](socks5::Method chosen) { method = chosen; });
  if (!reply) co_return fail(std::move(reply.error()));
  if (method == socks5::Method::none) co_return Result<>{};
  if (method != socks5::Method::user_password || user == nullptr) {
    co_return fail(Code::unauthenticated, "the proxy wants another way of authentication", "", "",
                   user == nullptr ? "give name and password with --user-file" : "");
  }
  size = socks5::encode_credentials({user->name, user->password}, message);
  sent = co_await net::write_all(proxy, ByteSpan(message).first(size), deadline);
  if (!sent) co_return fail(std::move(sent.error()));
  bool accepted = false;
  reply = co_await next_message<bool>(proxy, received, deadline, socks5::decode_credentials_status,
                                      [&](bool status) { accepted = status; });
  if (!reply) co_return fail(std::move(reply.error()));
  if (!accepted) co_return fail(Code::unauthenticated, "the proxy does not accept name and password");
  co_return Result<>{};
}

Task<Result<SocketAddress>> socks5_associate(net::Stream& proxy, TimePoint deadline) {
  std::array<std::uint8_t, socks5::max_message_bytes> message;
  // RFC 1928 section 7: zeros, since the socket that will send is bound to no address yet.
  const auto size = socks5::encode_request({socks::Command::udp_associate, socks::Target::of(Destination{IpAddress(), 0})}, message);
  auto sent = co_await net::write_all(proxy, ByteSpan(message).first(size), deadline);
  if (!sent) co_return fail(std::move(sent.error()));
  Bytes received;
  auto result = socks::Reply::general_failure;
  std::optional<SocketAddress> relay;
  auto reply = co_await next_message<socks5::OperationReply>(proxy, received, deadline, socks5::decode_reply,
                                                             [&](const socks5::OperationReply& got) {
                                                               result = got.reply;
                                                               const auto bound = got.bound.destination();
                                                               if (!bound.is_name()) relay = {std::get<IpAddress>(bound.host), bound.port};
                                                             });
  if (!reply) co_return fail(std::move(reply.error()));
  if (result != socks::Reply::success) co_return refused(result);
  if (!relay || relay->port == 0) co_return fail(Code::protocol, "the proxy names no relay for datagrams");
  co_return *relay;
}

Task<Result<Bytes>> socks5_connect(net::Stream& proxy, Destination destination, TimePoint deadline) {
  std::array<std::uint8_t, socks5::max_message_bytes> message;
  const auto size = socks5::encode_request({socks::Command::connect, socks::Target::of(destination)}, message);
  if (size == 0) co_return fail(Code::invalid_input, "the destination does not fit a SOCKS5 request", destination.text());
  auto sent = co_await net::write_all(proxy, ByteSpan(message).first(size), deadline);
  if (!sent) co_return fail(std::move(sent.error()));
  Bytes received;
  auto result = socks::Reply::general_failure;
  auto reply = co_await next_message<socks5::OperationReply>(
      proxy, received, deadline, socks5::decode_reply, [&](const socks5::OperationReply& got) { result = got.reply; });
  if (!reply) co_return fail(std::move(reply.error()));
  if (result != socks::Reply::success) co_return refused(result);
  co_return received;
}

}  // namespace epif::redirect
