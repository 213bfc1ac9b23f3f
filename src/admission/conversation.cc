#include "admission/conversation.h"

#include "base/limits.h"

namespace epif::admission {
namespace {

using std::chrono::milliseconds;

socks::Decoded<socksx::Request> decode_draft(ByteSpan received) {
  const auto decoded = socks6::decode_request(received);
  if (const auto* fault = socks::malformed(decoded)) return *fault;
  const auto* complete = socks::done(decoded);
  if (complete == nullptr) return socks::NeedMore{};
  return socks::Done<socksx::Request>{{complete->message, {}}, complete->consumed};
}

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

Result<> Conversation::keep(ByteSpan bytes) {
  received_.insert(received_.end(), bytes.begin(), bytes.end());
  if (admission_.place == nullptr || received_.size() <= limits::handshake_free_bytes) return {};
  return admission_.place->hold(received_.size());
}

Bytes Conversation::take_early() {
  if (admission_.place != nullptr) static_cast<void>(admission_.place->hold(0));
  return std::move(received_);
}

net::Task<Result<>> Conversation::wait_with_client(net::TimePoint deadline, std::size_t most) {
  auto scratch = client_.loop().scratch();
  scratch = scratch.first(std::min(scratch.size(), most - std::min(received_.size(), most) + 1));
  const net::Io io = client_.read_some(scratch);
  if (io.state == net::Io::State::moved) {
    auto kept = keep(scratch.first(io.bytes));
    if (kept && received_.size() > most) co_return fail(Code::limit, "the client sends more than can be held before its peer is there");
    co_return kept;
  }
  if (io.state == net::Io::State::end) co_return fail(Code::truncated, "the client left");
  if (io.state == net::Io::State::failed) co_return fail(client_.error());
  auto ready = co_await client_.readable(deadline);
  co_return ready;
}

net::Task<Result<>> Conversation::receive() {
  const auto scratch = client_.loop().scratch();
  for (;;) {
    const net::Io io = client_.read_some(scratch.first(limits::handshake_max_bytes));
    if (io.state == net::Io::State::moved) {
      co_return keep(scratch.first(io.bytes));
    }
    if (io.state == net::Io::State::end) co_return fail(Code::truncated, "the client left before its request was whole");
    if (io.state == net::Io::State::failed) co_return fail(client_.error());
    auto ready = co_await client_.readable(deadline_);
    if (!ready) co_return fail(std::move(ready.error()));
  }
}

net::Task<Result<>> Conversation::send(ByteSpan bytes, bool more) { return net::write_all(client_, bytes, deadline_, more); }

template <class Message>
net::Task<Result<socks::Done<Message>>> Conversation::read(socks::Decoded<Message> (*decode)(ByteSpan), std::size_t from) {
  for (;;) {
    const auto decoded = decode(ByteSpan(received_).subspan(std::min(from, received_.size())));
    if (const auto* complete = socks::done(decoded)) co_return *complete;
    if (const auto* fault = socks::malformed(decoded)) {
      fault_ = fault->fault;
      co_return fail(breach(fault->what));
    }
    if (received_.size() > from + limits::handshake_max_bytes) co_return fail(Code::limit, "the request is too long");
    auto more = co_await receive();
    if (!more) co_return fail(std::move(more.error()));
  }
}

net::Task<Result<ClientRequest>> Conversation::read_request(net::TimePoint deadline, std::optional<milliseconds> from_first_byte) {
  deadline_ = deadline;
  auto began = co_await receive();
  if (received_.empty()) co_return fail(std::move(began.error()));
  if (from_first_byte) deadline_ = net::Clock::now() + *from_first_byte;
  if (received_[0] == socks4::version) protocol_ = Protocol::socks4;
  if (received_[0] == socks6::version) protocol_ = Protocol::socks6;
  Result<ClientRequest> request;
  if (began) {
    request = co_await read_version();
  } else {
    request = fail(std::move(began.error()));
  }
  if (!request && request.error().code == Code::limit) {
    verdict_.reply = {};
    verdict_.reply.success = true;  // of SOCKS6: it is the operation that is refused
    auto answered = co_await answer(socks::Reply::general_failure, {});
    static_cast<void>(answered);
  }
  co_return request;
}

net::Task<Result<ClientRequest>> Conversation::read_version() {
  switch (received_[0]) {
    case socks4::version: return read_socks4();
    case socks5::version: return read_socks5();
    case socks6::version: return read_socks6();
    default: return refuse_version();
  }
}

net::Task<Result<ClientRequest>> Conversation::refuse_version() {
  // Draft section 5.1: the version that we speak, alone.
  const std::array<std::uint8_t, 1> mismatch{socks6::version};
  auto sent = co_await send(mismatch);
  static_cast<void>(sent);
  co_return fail(breach("the first byte is of no SOCKS version"));
}

net::Task<Result<ClientRequest>> Conversation::read_socks4() {
  protocol_ = Protocol::socks4;
  auto request = co_await read(socks4::decode_request);
  if (!request || admission_.needs_password()) {
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
  made.known = !admission_.identity.empty();
  consume(request->consumed);
  co_return made;
}

net::Task<Result<>> Conversation::authenticate_socks5() {
  auto greeting = co_await read(socks5::decode_greeting);
  if (!greeting) co_return fail(std::move(greeting.error()));
  const auto wanted = admission_.needs_password() ? socks5::Method::user_password : socks5::Method::none;
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
  const bool accepted = credentials && admission_.users->accepts(credentials->message.user, credentials->message.password);
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
  made.known = !admission_.identity.empty() || admission_.needs_password();
  consume(request->consumed);
  co_return made;
}

net::Task<void> Conversation::answer_malformed_socks6(socks::Fault fault) {
  // What could not be read could not authenticate either. Without a password the operation itself is refused.
  verdict_.reply.success = !admission_.needs_password();
  const auto reply =
      fault == socks::Fault::address_type ? socks::Reply::address_type_not_supported : socks::Reply::general_failure;
  auto answered = co_await answer(reply, {});
  static_cast<void>(answered);
}

net::Task<Result<Dialogue>> Conversation::ask_password(std::size_t at) {
  // Draft-11, "Username/Password Authentication": the exchange of RFC 1929, between the two Authentication Replies.
  auto asked = co_await answer(socks::Reply::general_failure, {});
  if (!asked) co_return fail(std::move(asked.error()));
  authentication_told_ = false;
  auto credentials = co_await read(socks5::decode_credentials, at);
  if (!credentials && credentials.error().code != Code::protocol) co_return fail(std::move(credentials.error()));
  Dialogue made;
  if (credentials) {
    const auto& message = credentials->message;
    made = {admission_.users->accepts(message.user, message.password), std::string(message.user)};
    const auto begin = received_.begin() + static_cast<std::ptrdiff_t>(at);
    received_.erase(begin, begin + static_cast<std::ptrdiff_t>(credentials->consumed));
  }
  std::array<std::uint8_t, 2> status{};
  const auto size = socks5::encode_credentials_status(made.accepted, status);
  auto sent = co_await send(ByteSpan(status).first(size));
  if (!sent) co_return fail(std::move(sent.error()));
  co_return made;
}

net::Task<Result<ClientRequest>> Conversation::read_socks6() {
  protocol_ = Protocol::socks6;
  const auto decode = admission_.dialect == Dialect::socksx ? socksx::decode_request : decode_draft;
  auto whole = co_await read(decode);
  if (!whole) {
    // A stream may fail with the same code (a trunk whose peer breaks its rules): then nobody is there to be answered.
    if (fault_) co_await answer_malformed_socks6(*fault_);
    co_return fail(std::move(whole.error()));
  }
  verdict_ = authenticate(whole->message.request.options, admission_, {}, net::Clock::now());
  if (verdict_.ask) {
    // Initial data stand between the request and what follows the first reply. They wait; nothing is the target's yet.
    auto outcome = co_await ask_password(whole->consumed + whole->message.request.initial_data_bytes());
    if (!outcome) co_return fail(std::move(outcome.error()));
    const auto again = decode(received_);  // the bytes may have moved
    whole = *socks::done(again);
    verdict_ = authenticate(whole->message.request.options, admission_, *outcome, net::Clock::now());
  }
  if (verdict_.moved) {
    // An answer that refuses the token would say that it is spent. Nothing has been done: a new connection meets who knows.
    client_.abort({Code::conflict, std::string(verdict_.why)});
    co_return fail(Code::conflict, std::string(verdict_.why));
  }
  if (!verdict_.reply.success) {
    auto answered = co_await answer(socks::Reply::general_failure, {});
    static_cast<void>(answered);
    co_return fail(Code::unauthenticated, std::string(verdict_.why));
  }
  const auto& request = whole->message.request;
  ClientRequest made;
  made.protocol = protocol_;
  made.command = request.command;
  made.target = request.target.destination();
  made.stack = request.options.stack;
  if (request.options.flow) {
    made.flow = request.options.flow->flow;
    for (const auto& one : request.options.flow->encapsulations) made.encapsulations.push_back({std::string(one.pair), one.key});
  }
  if (request.options.expected_peer) made.expected_peer = request.options.expected_peer->destination();
  made.trunk = request.options.trunk;
  made.session = verdict_.session;
  made.known = verdict_.known;
  made.token_spent = verdict_.token_spent;
  if (const auto& chain = whole->message.chain) made.chain = ChainMetadata{chain->index, {chain->links.begin(), chain->links.end()}};
  consume(whole->consumed);
  co_return made;
}

net::Task<Result<>> Conversation::answer(socks::Reply reply, SocketAddress bound, socks6::StackOptions stack, bool more) {
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
      if (!authentication_told_) size = socks6::encode_authentication_reply(verdict_.reply, out);
      authentication_told_ = true;
      if (verdict_.reply.success) {
        const auto encode = admission_.dialect == Dialect::socksx ? socksx::encode_operation_reply : socks6::encode_operation_reply;
        if (reply != socks::Reply::success) trunk_.reset();
        size += encode({reply, socks::Target::of(bound), stack, trunk_}, MutableByteSpan(out).subspan(size));
      }
      break;
  }
  auto sent = co_await send(ByteSpan(out).first(size), more);
  co_return sent;
}

net::Task<Result<>> Conversation::refuse_unread(milliseconds patience) {
  deadline_ = net::Clock::now() + patience;
  auto began = co_await receive();
  if (!began) co_return fail(std::move(began.error()));
  std::array<std::uint8_t, 2> no_method{};
  switch (received_[0]) {
    case socks4::version: protocol_ = Protocol::socks4; break;
    case socks6::version:
      protocol_ = Protocol::socks6;
      verdict_.reply.success = true;
      break;
    case socks5::version: {
      const auto size = socks5::encode_method(socks5::Method::unacceptable, no_method);
      auto sent = co_await send(ByteSpan(no_method).first(size));
      co_return sent;
    }
    default: {
      const std::array<std::uint8_t, 1> mismatch{socks6::version};  // draft section 5.1
      auto sent = co_await send(mismatch);
      co_return sent;
    }
  }
  auto sent = co_await answer(socks::Reply::general_failure, {});
  co_return sent;
}

net::Task<void> close_after_answer(net::Stream& client) {
  const auto deadline = net::Clock::now() + milliseconds(limits::farewell_ms);
  net::reset_on_close(client.fd(), false);
  auto ended = co_await net::end_write(client, deadline);
  std::size_t discarded = 0;
  while (ended && discarded < limits::farewell_max_bytes) {
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

}  // namespace epif::admission
