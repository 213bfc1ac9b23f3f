#include "proxy/conversation.h"

#include "base/limits.h"

namespace epif::proxy {
namespace {

using std::chrono::milliseconds;

/// Patience for a client that has been refused to read its answer and leave.
constexpr milliseconds farewell{2'000};
constexpr std::size_t farewell_bytes = 256 * 1024;

Error breach(std::string_view what) { return {Code::protocol, "the client breaks SOCKS", {}, std::string(what)}; }

}  // namespace

std::string_view name(Protocol protocol) {
  switch (protocol) {
    case Protocol::socks4: return "socks4";
    case Protocol::socks5: return "socks5";
    case Protocol::socks6: return "socks6";
  }
  return "unknown";
}

net::Task<Result<>> Conversation::receive() {
  const auto scratch = client_.loop().scratch();
  const std::size_t room = limits::handshake_max_bytes + limits::socks6_initial_data_max_bytes - received_.size();
  for (;;) {
    const net::Io io = client_.read_some(scratch.first(std::min(room, scratch.size())));
    if (io.state == net::Io::State::moved) {
      received_.insert(received_.end(), scratch.begin(), scratch.begin() + static_cast<std::ptrdiff_t>(io.bytes));
      co_return Result<>{};
    }
    if (io.state == net::Io::State::end) co_return fail(Code::truncated, "the client left before its request was whole");
    if (io.state == net::Io::State::failed) co_return fail(client_.error());
    auto ready = co_await client_.readable(deadline_);
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

net::Task<Result<>> Conversation::send(ByteSpan bytes) {
  auto sent = co_await net::write_all(client_, bytes, deadline_);
  co_return sent;
}

template <class Message>
net::Task<Result<socks::Done<Message>>> Conversation::read(socks::Decoded<Message> (*decode)(ByteSpan)) {
  for (;;) {
    const auto decoded = decode(received_);
    if (const auto* complete = socks::done(decoded)) co_return *complete;
    if (const auto* fault = socks::malformed(decoded)) {
      fault_ = fault->fault;
      co_return fail(breach(fault->what));
    }
    if (received_.size() > limits::handshake_max_bytes) co_return fail(Code::limit, "the request is too long");
    auto more = co_await receive();
    if (!more) co_return fail(std::move(more.error()));
  }
}

net::Task<Result<ClientRequest>> Conversation::read_request(net::TimePoint first_byte, milliseconds deadline) {
  deadline_ = first_byte;
  auto began = co_await receive();
  if (!began) co_return fail(std::move(began.error()));
  deadline_ = std::max(first_byte, net::Clock::now() + deadline);
  switch (received_[0]) {
    case socks4::version: {
      auto request = co_await read_socks4();
      co_return request;
    }
    case socks5::version: {
      auto request = co_await read_socks5();
      co_return request;
    }
    case socks6::version: {
      auto request = co_await read_socks6();
      co_return request;
    }
    default: {
      // Draft section 5.1: the version that we speak, alone.
      const std::array<std::uint8_t, 1> mismatch{socks6::version};
      auto sent = co_await send(mismatch);
      static_cast<void>(sent);
      co_return fail(breach("the first byte is of no SOCKS version"));
    }
  }
}

net::Task<Result<ClientRequest>> Conversation::read_socks4() {
  protocol_ = Protocol::socks4;
  auto request = co_await read(socks4::decode_request);
  if (!request || needs_password()) {
    if (!request && request.error().code != Code::protocol) co_return fail(std::move(request.error()));
    auto answered = co_await answer(socks::Reply::not_allowed, {});
    static_cast<void>(answered);
    if (!request) co_return fail(std::move(request.error()));
    co_return fail(Code::unauthenticated, "SOCKS4 has no passwords, and this proxy asks for one");
  }
  ClientRequest made;
  made.protocol = protocol_;
  made.command = request->message.command;
  made.target = request->message.target.destination();
  consume(request->consumed);
  co_return made;
}

net::Task<Result<>> Conversation::authenticate_socks5() {
  auto greeting = co_await read(socks5::decode_greeting);
  if (!greeting) co_return fail(std::move(greeting.error()));
  const auto wanted = needs_password() ? socks5::Method::user_password : socks5::Method::none;
  const bool offered = greeting->message.offers(wanted);
  consume(greeting->consumed);
  std::array<std::uint8_t, 2> out{};
  const auto size = socks5::encode_method(offered ? wanted : socks5::Method::unacceptable, out);
  auto sent = co_await send(ByteSpan(out).first(size));
  if (!sent) co_return sent;
  if (!offered) co_return fail(Code::unauthenticated, "the client offers no acceptable method");
  if (wanted == socks5::Method::none) co_return Result<>{};

  auto credentials = co_await read(socks5::decode_credentials);
  const bool whole = credentials || credentials.error().code == Code::protocol;
  if (!whole) co_return fail(std::move(credentials.error()));
  const bool accepted = credentials && users_->accepts(credentials->message.user, credentials->message.password);
  if (credentials) consume(credentials->consumed);
  const auto status = socks5::encode_credentials_status(accepted, out);
  sent = co_await send(ByteSpan(out).first(status));
  if (!accepted) co_return fail(Code::unauthenticated, "wrong user name or password");
  co_return sent;
}

net::Task<Result<ClientRequest>> Conversation::read_socks5() {
  protocol_ = Protocol::socks5;
  auto authenticated = co_await authenticate_socks5();
  if (!authenticated) co_return fail(std::move(authenticated.error()));
  auto request = co_await read(socks5::decode_request);
  if (!request) {
    if (request.error().code == Code::protocol && fault_ != socks::Fault::version) {
      const auto reply = fault_ == socks::Fault::address_type ? socks::Reply::address_type_not_supported
                                                              : socks::Reply::general_failure;
      auto answered = co_await answer(reply, {});
      static_cast<void>(answered);
    }
    co_return fail(std::move(request.error()));
  }
  ClientRequest made;
  made.protocol = protocol_;
  made.command = request->message.command;
  made.target = request->message.target.destination();
  consume(request->consumed);
  co_return made;
}

net::Task<void> Conversation::answer_malformed_socks6(socks::Fault fault) {
  // What could not be read could not authenticate either. Without a password the operation itself is refused.
  authentication_.success = !needs_password();
  const auto reply =
      fault == socks::Fault::address_type ? socks::Reply::address_type_not_supported : socks::Reply::general_failure;
  auto answered = co_await answer(reply, {});
  static_cast<void>(answered);
}

net::Task<Result<ClientRequest>> Conversation::read_socks6() {
  protocol_ = Protocol::socks6;
  auto read_one = co_await read(socks6::decode_request);
  if (!read_one) {
    if (read_one.error().code == Code::protocol) co_await answer_malformed_socks6(*fault_);
    co_return fail(std::move(read_one.error()));
  }
  const auto& request = read_one->message;
  const auto& options = request.options;
  authentication_.success = true;
  if (needs_password()) {
    const bool accepted = options.credentials && users_->accepts(options.credentials->user, options.credentials->password);
    authentication_.success = accepted;
    if (options.credentials) authentication_.credentials_status = accepted ? 0 : 1;
    // In -12 a password comes with the request or not at all: whoever hoped for a dialogue is told that there is none.
    if (!accepted && options.advertisement) authentication_.selection = socks6::Method::unacceptable;
  }
  if (!authentication_.success) {
    auto answered = co_await answer(socks::Reply::general_failure, {});
    static_cast<void>(answered);
    co_return fail(Code::unauthenticated, "missing or wrong user name or password");
  }
  ClientRequest made;
  made.protocol = protocol_;
  made.command = request.command;
  made.target = request.target.destination();
  made.stack = options.stack;
  if (options.flow) {
    made.flow = options.flow->flow;
    for (const auto& one : options.flow->encapsulations) made.encapsulations.push_back({std::string(one.pair), one.key});
  }
  consume(read_one->consumed);
  co_return made;
}

net::Task<Result<>> Conversation::answer(socks::Reply reply, SocketAddress bound, socks6::StackOptions stack) {
  std::array<std::uint8_t, 512> out{};
  std::size_t size = 0;
  switch (protocol_) {
    case Protocol::socks4: {
      const auto code = reply == socks::Reply::success ? socks4::ReplyCode::granted : socks4::ReplyCode::rejected;
      size = socks4::encode_reply(code, bound, out);
      break;
    }
    case Protocol::socks5: size = socks5::encode_reply({reply, socks::Target::of(bound)}, out); break;
    case Protocol::socks6:
      size = socks6::encode_authentication_reply(authentication_, out);
      if (authentication_.success) {
        size += socks6::encode_operation_reply({reply, socks::Target::of(bound), stack}, MutableByteSpan(out).subspan(size));
      }
      break;
  }
  auto sent = co_await send(ByteSpan(out).first(size));
  co_return sent;
}

net::Task<void> Conversation::refuse_unread(milliseconds patience) {
  deadline_ = net::Clock::now() + patience;
  auto began = co_await receive();
  if (!began) co_return;
  std::array<std::uint8_t, 2> no_method{};
  switch (received_[0]) {
    case socks4::version: protocol_ = Protocol::socks4; break;
    case socks6::version:
      protocol_ = Protocol::socks6;
      authentication_.success = true;
      break;
    default: {
      const auto size = socks5::encode_method(socks5::Method::unacceptable, no_method);
      auto sent = co_await send(ByteSpan(no_method).first(size));
      static_cast<void>(sent);
      co_return;
    }
  }
  auto sent = co_await answer(socks::Reply::general_failure, {});
  static_cast<void>(sent);
}

net::Task<void> close_after_answer(net::Stream& client) {
  const auto deadline = net::Clock::now() + farewell;
  net::reset_on_close(client.fd(), false);
  auto ended = co_await net::end_write(client, deadline);
  std::size_t discarded = 0;
  while (ended && discarded < farewell_bytes) {
    const net::Io io = client.read_some(client.loop().scratch());
    if (io.state == net::Io::State::moved) {
      discarded += io.bytes;
    } else if (io.state == net::Io::State::would_block) {
      auto ready = co_await client.readable(deadline);
      if (!ready) co_return;
    } else {
      co_return;
    }
  }
}

}  // namespace epif::proxy
