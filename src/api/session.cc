#include "api/session.h"

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "api/http_read.h"
#include "api/openssl.h"
#include "api/target.h"
#include "base/limits.h"
#include "base/log.h"

namespace epif::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using ErrorCode = boost::system::error_code;
using std::chrono::milliseconds;

/// Runs blocking `work` on the pool and comes back to the loop with its result.
template <class Work>
asio::awaitable<std::invoke_result_t<Work>> on_pool(asio::thread_pool& pool, Work work) {
  using Value = std::invoke_result_t<Work>;
  return asio::async_initiate<const asio::use_awaitable_t<>, void(Value)>(
      [](auto handler, asio::thread_pool* threads, Work job) {
        auto loop = asio::get_associated_executor(handler);
        // The guard keeps the loop alive while only the pool is busy.
        auto guard = asio::make_work_guard(loop);
        asio::post(*threads, [handler = std::move(handler), loop, guard = std::move(guard), job = std::move(job)]() mutable {
          asio::post(loop, [handler = std::move(handler), value = job()]() mutable { std::move(handler)(std::move(value)); });
        });
      },
      asio::use_awaitable, &pool, std::move(work));
}

Request to_request(const http::request<http::string_body>& message, const Caller& caller) {
  Request request;
  request.method = std::string(message.method_string());
  request.content_type = std::string(message[http::field::content_type]);
  request.if_match = std::string(message[http::field::if_match]);
  std::erase(request.if_match, '"');
  request.body = message.body();
  request.caller = caller;
  if (auto target = parse_target(message.target())) {
    request.path = std::move(target->path);
    request.query = std::move(target->query);
  }
  if (const auto last = message["Last-Event-ID"]; !last.empty()) request.query["since"] = std::string(last);
  return request;
}

bool has_ended(const std::optional<std::chrono::sys_seconds>& until) {
  return until && std::chrono::system_clock::now() >= *until;
}

/// Who asks, after the bearer token if one is given. A certificate or the Unix socket already says who it is.
Result<Caller> identify(const Caller& connected, std::string_view authorization, const ServerOptions& options) {
  // The handshake verified it, but a connection may outlive its certificate.
  if (has_ended(connected.until)) return fail(Code::unauthenticated, "the certificate has expired", {}, {}, "connect with a new one");
  if (authorization.empty() || connected.kind != Caller::Kind::anonymous) return connected;
  constexpr std::string_view scheme = "bearer ";
  const bool is_bearer = authorization.size() > scheme.size() && beast::iequals(authorization.substr(0, scheme.size()), scheme);
  if (!is_bearer || !options.check_token) return fail(Code::unauthenticated, "only bearer tokens are understood here");
  auto user = options.check_token(authorization.substr(scheme.size()));
  if (!user) {
    auto error = std::move(user.error());
    error.code = Code::unauthenticated;  // an expired token is a 401, not a 410
    return fail(std::move(error));
  }
  return user;
}

/// The status line and what every answer says; more headers and the empty line are still to come.
std::string header_text(unsigned version, int status, std::string_view content_type) {
  const std::string_view reason = http::obsolete_reason(static_cast<http::status>(status));
  return fmt::format("HTTP/{}.{} {} {}\r\nContent-Type: {}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n", version / 10,
                     version % 10, status, reason, content_type);
}

/// One connection.
class Session {
 public:
  Session(Wire::Socket socket, Caller caller, Sessions& sessions)
      : wire_(std::move(socket)), caller_(std::move(caller)), sessions_(sessions), control_(wire_.socket().get_executor()) {
    control_.close_socket = [this] { wire_.close(); };
    sessions_.open.insert(&control_);
  }
  ~Session() { sessions_.open.erase(&control_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Wire& wire() { return wire_; }
  Caller& caller() { return caller_; }

  asio::awaitable<void> requests() {
    bool go_on = true;
    while (go_on && !sessions_.stopping && !control_.stopping) go_on = co_await one_request();
  }

  void limit_time() { wire_.expire_after(milliseconds(sessions_.options.deadline_ms)); }

 private:
  asio::awaitable<bool> one_request();
  asio::awaitable<bool> answer(Response response, unsigned version, bool keep_alive, bool head_only);
  asio::awaitable<void> refuse_request(ErrorCode error);
  asio::awaitable<void> watch(EventStream events);
  asio::awaitable<ErrorCode> write_chunk(std::string text);
  asio::awaitable<void> sleep(std::optional<std::chrono::sys_seconds> until);

  Wire wire_;
  Caller caller_;
  Sessions& sessions_;
  SessionControl control_;
  beast::flat_buffer buffer_;
};

asio::awaitable<bool> Session::one_request() {
  http::request_parser<http::string_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(limits::api_header_max_bytes));
  parser.body_limit(limits::document_max_bytes);
  limit_time();
  const auto error = co_await read_message<true>(wire_, buffer_, parser, false);
  if (error) {
    co_await refuse_request(error);
    co_return false;
  }
  const bool keep_alive = parser.get().keep_alive();
  const unsigned version = parser.get().version();
  const bool head_only = parser.get().method() == http::verb::head;
  const std::string authorization(parser.get()[http::field::authorization]);
  auto request = to_request(parser.get(), caller_);
  auto work = [this, authorization, request = std::move(request)]() mutable -> Reply {
    auto caller = identify(request.caller, authorization, sessions_.options);
    if (!caller) return error_response(caller.error());
    request.caller = std::move(*caller);
    if (request.path.empty()) return error_response({Code::invalid_input, "the request target is not well-formed", {}, {}, {}});
    auto reply = sessions_.router.dispatch(request);
    if (auto* events = std::get_if<EventStream>(&reply)) events->until = request.caller.until;
    return reply;
  };
  Reply reply = co_await on_pool(sessions_.pool, std::move(work));
  if (auto* events = std::get_if<EventStream>(&reply)) {
    co_await watch(std::move(*events));
    co_return false;
  }
  const bool go_on = co_await answer(std::get<Response>(std::move(reply)), version, keep_alive, head_only);
  co_return go_on;
}

asio::awaitable<bool> Session::answer(Response response, unsigned version, bool keep_alive, bool head_only) {
  auto message = header_text(version, response.status, response.content_type);
  for (const auto& [name, value] : response.headers) message += fmt::format("{}: {}\r\n", name, value);
  if (keep_alive != (version >= 11)) message += keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  if (response.status != 204) message += fmt::format("Content-Length: {}\r\n", response.body.size());
  message += "\r\n";
  if (!head_only) message += response.body;
  limit_time();
  const auto error = co_await wire_.write(message);
  co_return !error && keep_alive;
}

/// A request that cannot be read: says why where HTTP has an answer for it. The connection ends either way.
asio::awaitable<void> Session::refuse_request(ErrorCode error) {
  Response response;
  if (error == http::error::body_limit) {
    response = error_response({Code::limit, "the body is too large", {}, "at most " + std::to_string(limits::document_max_bytes) + " bytes", "split it"});
  } else if (error == http::error::header_limit) {
    response = error_response({Code::limit, "the request's headers are too large", {}, {}, {}});
    response.status = 431;
  } else if (error.category() == make_error_code(http::error::bad_method).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message) {
    response = error_response({Code::invalid_input, "not a well-formed HTTP request", {}, error.message(), {}});
  } else {
    co_return;  // gone, or too slow: nobody listens
  }
  co_await answer(std::move(response), 11, false, false);
  // Closing while unread input waits would send a reset, which can overtake the answer; take what is under way first.
  char waste[16 * 1024];
  for (std::size_t total = 0; total < 2 * limits::document_max_bytes;) {
    const auto taken = co_await wire_.read(waste);
    if (taken.error) co_return;
    total += taken.size;
  }
}

asio::awaitable<ErrorCode> Session::write_chunk(std::string text) {
  limit_time();
  const auto chunk = fmt::format("{:x}\r\n{}\r\n", text.size(), text);
  const auto error = co_await wire_.write(chunk);
  co_return error;
}

/// Until the bell rings, a heartbeat is due, or the caller's right to listen ends.
asio::awaitable<void> Session::sleep(std::optional<std::chrono::sys_seconds> until) {
  if (control_.rung || control_.stopping) co_return;
  milliseconds pause(sessions_.options.heartbeat_ms);
  if (until) pause = std::clamp(std::chrono::ceil<milliseconds>(*until - std::chrono::system_clock::now()), milliseconds(0), pause);
  control_.bell.expires_after(pause);
  co_await control_.bell.async_wait(no_throw);
}

std::string as_text(const std::vector<ServerEvent>& events) {
  std::string text;
  for (const auto& event : events) text += "event: " + event.event + "\nid: " + event.id + "\ndata: " + event.data + "\n\n";
  return text;
}

asio::awaitable<void> Session::watch(EventStream events) {
  const auto header = header_text(11, 200, "text/event-stream") + "Transfer-Encoding: chunked\r\n\r\n";
  limit_time();
  const auto unsent = co_await wire_.write(header);
  if (unsent) co_return;
  // Subscribed before the first look, so that no change falls between look and sleep.
  const auto loop = wire_.socket().get_executor();
  auto subscription = events.subscribe([this, loop] {
    asio::post(loop, [control = &control_, &open = sessions_.open] {
      if (open.contains(control)) control->ring();
    });
  });
  ErrorCode failed = co_await write_chunk(": watching\n\n");
  while (!failed && !control_.stopping) {
    control_.rung = false;
    auto look = [&next = events.next] { return next(); };
    auto batch = co_await on_pool(sessions_.pool, look);
    if (has_ended(events.until)) {
      batch = fail(Code::unauthenticated, "the token or certificate that opened this watch has expired", {}, {}, "watch with a new one");
    }
    if (!batch) {
      auto body = error_response(batch.error()).body;
      std::erase(body, '\n');
      co_await write_chunk("event: error\ndata: " + body + "\n\n");
      break;
    }
    if (!batch->empty()) {
      failed = co_await write_chunk(as_text(*batch));
      continue;
    }
    co_await sleep(events.until);
    if (!control_.rung && !control_.stopping) failed = co_await write_chunk(": heartbeat\n\n");
  }
  limit_time();
  if (!failed) co_await wire_.write("0\r\n\r\n");
}

/// The identity in the client's certificate, which the handshake has verified already.
Caller caller_of(const SSL* tls) {
  const X509Ptr certificate(SSL_get1_peer_certificate(tls));
  if (!certificate) return {};
  auto identity = identity_of(certificate.get());
  return identity.empty() ? Caller{} : Caller{Caller::Kind::agent, std::move(identity), expiry_of(certificate.get())};
}

}  // namespace

asio::awaitable<void> serve_tls(asio::ip::tcp::socket socket, TlsContext tls, Sessions& sessions) {
  Session session(std::move(socket), {}, sessions);
  session.limit_time();
  session.wire().begin_tls(tls);
  const auto error = co_await session.wire().accept_handshake();
  if (error) {
    log::debug("api", "TLS handshake failed", {{"why", error.message()}});
    co_return;
  }
  session.caller() = caller_of(session.wire().tls());
  co_await session.requests();
  session.limit_time();
  co_await session.wire().end_tls();
}

asio::awaitable<void> serve_clear(asio::ip::tcp::socket socket, Sessions& sessions) {
  Session session(std::move(socket), {}, sessions);
  co_await session.requests();
}

asio::awaitable<void> serve_unix(asio::local::stream_protocol::socket socket, Sessions& sessions) {
  Session session(std::move(socket), {Caller::Kind::local, {}}, sessions);
  co_await session.requests();
}

}  // namespace epif::api
