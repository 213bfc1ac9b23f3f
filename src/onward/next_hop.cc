#include "onward/next_hop.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "socks/socksx.h"

namespace epif::onward {
namespace {

/// A proxy of the EPI project knows neither flows nor keys nor commands but CONNECT.
Result<Bytes> opening_socksx(const NextRequest& request) {
  if (request.command != socks::Command::connect || !request.encapsulations.empty()) {
    return fail(Code::unsupported, "a next proxy of the socksx dialect carries connections without keys only", request.target.text());
  }
  Bytes out(socks6::max_sent_bytes);
  out.resize(socksx::encode_request(socks::Target::of(request.target), out));
  if (out.empty()) return fail(Code::internal, "cannot write the request for the next proxy", request.target.text());
  return out;
}

/// The request and what follows it, for one write.
Result<Bytes> opening(const NextRequest& request, ByteSpan first) {
  if (request.dialect == Dialect::socksx) return opening_socksx(request);
  socks6::Request wire;
  wire.command = request.command;
  wire.target = socks::Target::of(request.target);
  wire.options.stack = request.stack;
  wire.options.flow = socks6::FlowOption{request.flow, request.encapsulations};
  if (request.expected_peer) wire.options.expected_peer = socks::Target::of(*request.expected_peer);
  Bytes out(socks6::max_sent_bytes);
  const auto size = socks6::encode_request(wire, out);
  if (size == 0) return fail(Code::internal, "cannot write the request for the next proxy", request.target.text());
  out.resize(size);
  out.insert(out.end(), first.begin(), first.end());
  return out;
}

net::Task<Result<>> receive(net::Stream& stream, Bytes& received, net::TimePoint deadline) {
  if (received.size() > limits::handshake_max_bytes) co_return fail(Code::protocol, "the next proxy's reply is too long");
  // Not read_more into the shared scratch buffer: that must not be held over a wait.
  std::array<std::uint8_t, 2048> part{};
  auto got = co_await net::read_more(stream, part, deadline);
  if (!got) co_return fail(std::move(got.error()));
  if (*got == 0) co_return fail(Code::truncated, "the next proxy left before its reply");
  received.insert(received.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(*got));
  co_return Result<>{};
}

template <class Message>
net::Task<Result<socks::Done<Message>>> read(net::Stream& stream, Bytes& received, net::TimePoint deadline,
                                             socks::Decoded<Message> (*decode)(ByteSpan)) {
  for (;;) {
    const auto decoded = decode(received);
    if (const auto* complete = socks::done(decoded)) co_return *complete;
    if (const auto* fault = socks::malformed(decoded)) {
      co_return fail(Code::protocol, "the next proxy breaks SOCKS6", {}, std::string(fault->what));
    }
    auto more = co_await receive(stream, received, deadline);
    if (!more) co_return fail(std::move(more.error()));
  }
}

/// Reads from `received`, then from the stream; what follows the reply is left in made.early.
net::Task<Result<>> read_operation(net::Stream& stream, Bytes received, Upstream& made, Dialect dialect, net::TimePoint deadline) {
  const auto decode = dialect == Dialect::socksx ? socksx::decode_operation_reply : socks6::decode_operation_reply;
  auto operation = co_await read(stream, received, deadline, decode);
  if (!operation) co_return fail(std::move(operation.error()));
  const auto reply = operation->message.reply;
  if (reply != socks::Reply::success) {
    co_return fail(socks::code_for(reply), fmt::format("the next proxy answers {}", static_cast<int>(reply)));
  }
  made.stack = operation->message.stack;
  if (const auto* ip = std::get_if<IpAddress>(&operation->message.bound.host)) {
    made.bound = {*ip, operation->message.bound.port};
  }
  made.early.assign(received.begin() + static_cast<std::ptrdiff_t>(operation->consumed), received.end());
  co_return Result<>{};
}

net::Task<Result<>> converse(net::Stream& stream, Upstream& made, Dialect dialect, net::TimePoint deadline) {
  Bytes received;
  auto authentication = co_await read(stream, received, deadline, socks6::decode_authentication_reply);
  if (!authentication) co_return fail(std::move(authentication.error()));
  if (!authentication->message.success) co_return fail(Code::unauthenticated, "the next proxy does not accept us");
  received.erase(received.begin(), received.begin() + static_cast<std::ptrdiff_t>(authentication->consumed));
  auto outcome = co_await read_operation(stream, std::move(received), made, dialect, deadline);
  co_return outcome;
}

}  // namespace

net::Task<Result<Upstream>> connect_next(net::WarmPool& pool, NextRequest request, ByteSpan first, Attempt& attempt,
                                         net::TimePoint deadline) {
  if (request.dialect == Dialect::socksx) first = {};  // it may read more than its request at once
  auto bytes = opening(request, first);
  if (!bytes) co_return fail(std::move(bytes.error()));
  auto taken = co_await pool.take(*bytes, deadline);
  if (!taken) co_return fail(std::move(taken.error()));
  auto granted = attempt.still_granted();
  if (!granted) co_return fail(std::move(granted.error()));
  if (taken->stream->clear_socket() >= 0) net::reset_on_close(taken->stream->fd(), true);
  Upstream made;
  made.stream = std::move(taken->stream);
  made.sent = first.size();
  attempt.waits_for(made.stream.get());
  auto outcome = co_await net::write_all(*made.stream, ByteSpan(*bytes).subspan(taken->sent), deadline);
  // A refusal may have arrived although the write failed: it is read in both cases.
  auto replied = co_await converse(*made.stream, made, request.dialect, deadline);
  attempt.waits_for(nullptr);
  if (!replied && !outcome) co_return fail(std::move(outcome.error()));
  if (!replied) {
    auto error = std::move(replied.error());
    if (error.where.empty()) error.where = request.target.text();
    co_return fail(std::move(error));
  }
  co_return made;
}

net::Task<Result<>> read_next_reply(Upstream& made, net::TimePoint deadline) {
  auto received = std::exchange(made.early, {});
  auto outcome = co_await read_operation(*made.stream, std::move(received), made, Dialect::draft, deadline);
  co_return outcome;
}

}  // namespace epif::onward
