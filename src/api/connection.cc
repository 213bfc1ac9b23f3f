#include "api/connection.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

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

constexpr auto no_throw = asio::experimental::as_tuple(asio::use_awaitable);
using TlsStream = beast::ssl_stream<beast::tcp_stream>;
using UnixStream = beast::basic_stream<asio::local::stream_protocol>;

bool is_host_down(const ErrorCode& error) {
  return error == asio::error::host_not_found || error == asio::error::host_not_found_try_again ||
         error == asio::error::no_data || error == asio::error::service_not_found;
}

Error to_error(const ErrorCode& error, std::string what, const std::string& where) {
  if (error == beast::error::timeout || error == asio::error::operation_aborted) {
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

template <class Stream>
class BeastConnection final : public Connection {
 public:
  BeastConnection(Stream stream, const Endpoint& endpoint) : stream_(std::move(stream)), where_(endpoint.text()), host_(endpoint.host) {}

  Stream& stream() { return stream_; }
  bool reusable() const override { return reusable_; }
  void close() override {
    reusable_ = false;
    beast::get_lowest_layer(stream_).close();
  }

  asio::awaitable<Result<Answer>> exchange(Question question, milliseconds left) override;
  asio::awaitable<Result<Answer>> open_stream(Question question, milliseconds left) override;
  asio::awaitable<Result<std::string>> read_stream(milliseconds silence) override;
  std::string chain() const override;

 private:
  asio::awaitable<Result<>> send(Question question);
  void expire_after(milliseconds left) { beast::get_lowest_layer(stream_).expires_after(left); }

  Stream stream_;
  std::string where_;
  std::string host_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::buffer_body>> streamed_;
  bool reusable_ = true;
};

template <class Stream>
asio::awaitable<Result<>> BeastConnection<Stream>::send(Question question) {
  http::request<http::string_body> message;
  message.method_string(question.method);
  message.target(question.target);
  message.version(11);
  message.set(http::field::host, host_.empty() ? "localhost" : host_);
  message.set(http::field::user_agent, "epif");
  if (!question.token.empty()) message.set(http::field::authorization, "Bearer " + question.token);
  if (!question.content_type.empty() && !question.body.empty()) message.set(http::field::content_type, question.content_type);
  message.body() = std::move(question.body);
  message.prepare_payload();
  const auto [error, size] = co_await http::async_write(stream_, message, no_throw);
  if (error) co_return fail(to_error(error, "cannot send to the orchestrator", where_));
  co_return Result<>{};
}

template <class Stream>
asio::awaitable<Result<Answer>> BeastConnection<Stream>::exchange(Question question, milliseconds left) {
  expire_after(left);
  reusable_ = false;
  const bool head_only = question.method == "HEAD";
  const auto sent = co_await send(std::move(question));
  // A server that refuses an oversize body answers while we still write; its answer says more than our write error.
  if (!sent && sent.error().code != Code::reset) co_return fail(sent.error());
  http::response_parser<http::string_body> parser;
  parser.body_limit(8 * limits::document_max_bytes);
  parser.skip(head_only);
  const auto [error, size] = co_await http::async_read(stream_, buffer_, parser, no_throw);
  if (error) co_return fail(!sent ? sent.error() : to_error(error, "no answer from the orchestrator", where_));
  reusable_ = parser.get().keep_alive();
  Answer answer{static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
  co_return answer;
}

template <class Stream>
asio::awaitable<Result<Answer>> BeastConnection<Stream>::open_stream(Question question, milliseconds left) {
  expire_after(left);
  reusable_ = false;
  const auto sent = co_await send(std::move(question));
  if (!sent) co_return fail(sent.error());
  streamed_.emplace();
  streamed_->body_limit(boost::none);
  const auto [error, size] = co_await http::async_read_header(stream_, buffer_, *streamed_, no_throw);
  if (error) co_return fail(to_error(error, "no answer from the orchestrator", where_));
  Answer answer{static_cast<int>(streamed_->get().result_int()), {}};
  while (answer.status != 200 && answer.body.size() < limits::document_max_bytes) {
    const auto more = co_await read_stream(left);
    if (!more || more->empty()) break;
    answer.body += *more;
  }
  co_return answer;
}

template <class Stream>
asio::awaitable<Result<std::string>> BeastConnection<Stream>::read_stream(milliseconds silence) {
  char bytes[16 * 1024];
  auto& body = streamed_->get().body();
  for (;;) {
    if (streamed_->is_done()) co_return std::string();
    body.data = bytes;
    body.size = sizeof bytes;
    expire_after(silence);
    const auto [error, size] = co_await http::async_read_some(stream_, buffer_, *streamed_, no_throw);
    const std::size_t got = sizeof bytes - body.size;
    if (error && error != http::error::need_buffer) co_return fail(to_error(error, "the stream broke", where_));
    if (got != 0) co_return std::string(bytes, got);
  }
}

template <class Stream>
std::string BeastConnection<Stream>::chain() const {
  std::string pem;
  if constexpr (std::is_same_v<Stream, TlsStream>) {
    auto* handle = const_cast<TlsStream&>(stream_).native_handle();
    const auto* certificates = SSL_get_peer_cert_chain(handle);
    for (int i = 0; i < sk_X509_num(certificates); ++i) {
      const BioPtr bio(BIO_new(BIO_s_mem()));
      PEM_write_bio_X509(bio.get(), sk_X509_value(certificates, i));
      pem += text_of(bio.get());
    }
  }
  return pem;
}

asio::awaitable<Result<std::unique_ptr<Connection>>> connect_unix(Endpoint endpoint, milliseconds left) {
  const auto executor = co_await asio::this_coro::executor;
  UnixStream stream(executor);
  stream.expires_after(left);
  const auto [error] = co_await stream.async_connect(asio::local::stream_protocol::endpoint(endpoint.path), no_throw);
  if (error) co_return fail(to_error(error, "cannot reach the orchestrator", endpoint.text()));
  co_return std::make_unique<BeastConnection<UnixStream>>(std::move(stream), endpoint);
}

/// Why the handshake failed, in the words of the certificate check if that is why.
Error handshake_error(TlsStream& stream, const ErrorCode& error, const std::string& where) {
  auto result = to_error(error, "no secure connection to the orchestrator", where);
  const long verified = SSL_get_verify_result(stream.native_handle());
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
  TlsStream stream(beast::tcp_stream(executor), *tls);
  auto& socket = beast::get_lowest_layer(stream);
  socket.expires_after(left);
  const auto [unreached, reached] = co_await socket.async_connect(*addresses, no_throw);
  if (unreached) co_return fail(to_error(unreached, "cannot reach the orchestrator", endpoint.text()));
  ErrorCode ignored;
  socket.socket().set_option(asio::ip::tcp::no_delay(true), ignored);

  auto* handle = stream.native_handle();
  if (verify_host) {
    if (IpAddress::parse(endpoint.host)) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(handle), endpoint.host.c_str());
    } else {
      SSL_set1_host(handle, endpoint.host.c_str());
      SSL_ctrl(handle, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, endpoint.host.data());
    }
  }
  const auto [refused] = co_await stream.async_handshake(asio::ssl::stream_base::client, no_throw);
  if (refused) co_return fail(handshake_error(stream, refused, endpoint.text()));
  co_return std::make_unique<BeastConnection<TlsStream>>(std::move(stream), endpoint);
}

}  // namespace epif::api
