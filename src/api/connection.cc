#include "api/connection.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "api/http_read.h"
#include "api/openssl.h"
#include "base/ip.h"
#include "base/limits.h"

namespace epif::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using ErrorCode = boost::system::error_code;
using std::chrono::milliseconds;


bool is_host_down(const ErrorCode& error) {
  return error == asio::error::host_not_found || error == asio::error::host_not_found_try_again ||
         error == asio::error::no_data || error == asio::error::service_not_found;
}

Error to_error(const ErrorCode& error, std::string what, const std::string& where) {
  if (error == asio::error::timed_out || error == asio::error::operation_aborted) {
    return {Code::timeout, std::move(what), where, "no answer in time", {}};
  }
  if (is_host_down(error)) return {Code::host_unreachable, std::move(what), where, error.message(), "check the name"};
  if (error == http::error::end_of_stream || error == http::error::partial_message || error == asio::error::eof ||
      error == asio::ssl::error::stream_truncated) {
    return {Code::reset, std::move(what), where, "the server closed the connection", {}};
  }
  if (error.category() == asio::error::get_ssl_category()) {
    // In TLS 1.3 a server's refusal of our certificate arrives only with the first read.
    return {Code::unauthenticated, std::move(what), where, error.message(), {}};
  }
  if (error.category() == boost::system::system_category()) return system_error(error.value(), std::move(what), where);
  return {Code::protocol, std::move(what), where, error.message(), {}};
}

class HttpConnection final : public Connection {
 public:
  HttpConnection(Wire wire, const Endpoint& endpoint) : wire_(std::move(wire)), where_(endpoint.text()), host_(endpoint.host) {}

  bool reusable() const override { return reusable_; }
  void close() override {
    reusable_ = false;
    wire_.close();
  }

  asio::awaitable<Result<Answer>> exchange(Question question, milliseconds left) override;
  asio::awaitable<Result<Answer>> open_stream(Question question, milliseconds left) override;
  asio::awaitable<Result<std::string>> read_stream(milliseconds silence) override;
  std::string chain() const override;

 private:
  asio::awaitable<Result<>> send(Question question);

  Wire wire_;
  std::string where_;
  std::string host_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::buffer_body>> streamed_;
  bool reusable_ = true;
};

asio::awaitable<Result<>> HttpConnection::send(Question question) {
  auto message = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: epif\r\n", question.method, question.target,
                             host_.empty() ? "localhost" : host_);
  if (!question.token.empty()) message += fmt::format("Authorization: Bearer {}\r\n", question.token);
  if (!question.content_type.empty() && !question.body.empty()) message += fmt::format("Content-Type: {}\r\n", question.content_type);
  if (!question.body.empty() || question.method == "POST" || question.method == "PUT") {
    message += fmt::format("Content-Length: {}\r\n", question.body.size());
  }
  message += "\r\n" + question.body;
  const auto error = co_await wire_.write(message);
  if (error) co_return fail(to_error(error, "cannot send to the orchestrator", where_));
  co_return Result<>{};
}

asio::awaitable<Result<Answer>> HttpConnection::exchange(Question question, milliseconds left) {
  wire_.expire_after(left);
  reusable_ = false;
  const bool head_only = question.method == "HEAD";
  const auto sent = co_await send(std::move(question));
  // A server that refuses an oversize body answers while we still write; its answer says more than our write error.
  if (!sent && sent.error().code != Code::reset) co_return fail(sent.error());
  http::response_parser<http::string_body> parser;
  parser.body_limit(8 * limits::document_max_bytes);
  parser.skip(head_only);
  const auto error = co_await read_message<false>(wire_, buffer_, parser, false);
  if (error) co_return fail(!sent ? sent.error() : to_error(error, "no answer from the orchestrator", where_));
  reusable_ = parser.get().keep_alive();
  Answer answer{static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
  co_return answer;
}

asio::awaitable<Result<Answer>> HttpConnection::open_stream(Question question, milliseconds left) {
  wire_.expire_after(left);
  reusable_ = false;
  const auto sent = co_await send(std::move(question));
  if (!sent) co_return fail(sent.error());
  streamed_.emplace();
  streamed_->body_limit(boost::none);
  const auto error = co_await read_message<false>(wire_, buffer_, *streamed_, true);
  if (error) co_return fail(to_error(error, "no answer from the orchestrator", where_));
  Answer answer{static_cast<int>(streamed_->get().result_int()), {}};
  while (answer.status != 200 && answer.body.size() < limits::document_max_bytes) {
    const auto more = co_await read_stream(left);
    if (!more || more->empty()) break;
    answer.body += *more;
  }
  co_return answer;
}

asio::awaitable<Result<std::string>> HttpConnection::read_stream(milliseconds silence) {
  char bytes[16 * 1024];
  auto& body = streamed_->get().body();
  streamed_->eager(true);
  wire_.expire_after(silence);
  while (!streamed_->is_done()) {
    ErrorCode error;
    body.data = bytes;
    body.size = sizeof bytes;
    if (buffer_.size() != 0) buffer_.consume(streamed_->put(asio::const_buffer(buffer_.data()), error));
    const std::size_t got = sizeof bytes - body.size;
    if (got != 0) co_return std::string(bytes, got);
    if (error && error != http::error::need_more && error != http::error::need_buffer) co_return fail(to_error(error, "the stream broke", where_));
    if (streamed_->is_done()) break;
    error = co_await read_more(wire_, buffer_);
    if (error == asio::error::eof) streamed_->put_eof(error);
    if (error) co_return fail(to_error(error, "the stream broke", where_));
  }
  co_return std::string();
}

std::string HttpConnection::chain() const {
  std::string pem;
  if (wire_.tls() == nullptr) return pem;
  const auto* certificates = SSL_get_peer_cert_chain(wire_.tls());
  for (int i = 0; i < sk_X509_num(certificates); ++i) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), sk_X509_value(certificates, i));
    pem += text_of(bio.get());
  }
  return pem;
}

asio::awaitable<Result<std::unique_ptr<Connection>>> connect_unix(Endpoint endpoint, milliseconds left) {
  const auto executor = co_await asio::this_coro::executor;
  Wire wire{Wire::Socket(executor)};
  wire.expire_after(left);
  const asio::local::stream_protocol::endpoint where(endpoint.path);
  const auto error = co_await wire.connect(where);
  if (error) co_return fail(to_error(error, "cannot reach the orchestrator", endpoint.text()));
  co_return std::make_unique<HttpConnection>(std::move(wire), endpoint);
}

/// Why the handshake failed, in the words of the certificate check if that is why.
Error handshake_error(const SSL* tls, const ErrorCode& error, const std::string& where) {
  auto result = to_error(error, "no secure connection to the orchestrator", where);
  const long verified = SSL_get_verify_result(tls);
  if (verified != X509_V_OK) {
    result.why = std::string("its certificate is refused: ") + X509_verify_cert_error_string(verified);
    result.advice = verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH
                        ? "use an address that its certificate names"
                        : "check that the CA file is that of this orchestrator";
  }
  return result;
}

/// Numeric addresses need no resolver, which cannot be interrupted.
asio::awaitable<Result<asio::ip::tcp::resolver::results_type>> resolve(Endpoint endpoint) {
  const auto executor = co_await asio::this_coro::executor;
  using asio::ip::tcp;
  ErrorCode not_numeric;
  const auto address = asio::ip::make_address(endpoint.host, not_numeric);
  if (!not_numeric) {
    const tcp::endpoint only(address, static_cast<std::uint16_t>(std::stoul(endpoint.port)));
    co_return tcp::resolver::results_type::create(only, endpoint.host, endpoint.port);
  }
  tcp::resolver resolver(executor);
  const auto [error, found] = co_await resolver.async_resolve(endpoint.host, endpoint.port, no_throw);
  if (error) co_return fail(to_error(error, "cannot reach the orchestrator", endpoint.text()));
  co_return found;
}

}  // namespace

asio::awaitable<Result<std::unique_ptr<Connection>>> connect(Endpoint endpoint, TlsContext tls, bool verify_host,
                                                            milliseconds left) {
  if (endpoint.is_unix()) {
    auto local = co_await connect_unix(std::move(endpoint), left);
    co_return local;
  }
  const auto addresses = co_await resolve(endpoint);
  if (!addresses) co_return fail(addresses.error());
  const auto executor = co_await asio::this_coro::executor;
  Wire wire{Wire::Socket(executor)};
  wire.expire_after(left);
  ErrorCode unreached = asio::error::host_not_found;
  for (const auto& address : *addresses) {
    const asio::generic::stream_protocol::endpoint where(address.endpoint());
    unreached = co_await wire.connect(where);
    if (!unreached || unreached == asio::error::timed_out) break;
  }
  if (unreached) co_return fail(to_error(unreached, "cannot reach the orchestrator", endpoint.text()));
  ErrorCode ignored;
  wire.socket().set_option(asio::ip::tcp::no_delay(true), ignored);

  auto* handle = wire.begin_tls(tls);
  if (verify_host) {
    if (IpAddress::parse(endpoint.host)) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(handle), endpoint.host.c_str());
    } else {
      SSL_set1_host(handle, endpoint.host.c_str());
      SSL_ctrl(handle, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, endpoint.host.data());
    }
  }
  const auto refused = co_await wire.connect_handshake();
  if (refused) co_return fail(handshake_error(handle, refused, endpoint.text()));
  co_return std::make_unique<HttpConnection>(std::move(wire), endpoint);
}

}  // namespace epif::api
