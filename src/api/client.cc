#include "api/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>

#include "api/connection.h"
#include "api/resource_path.h"
#include "api/resources.h"
#include "base/limits.h"

namespace epif::api {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class HttpClient final : public Client {
 public:
  HttpClient(ClientOptions options, Endpoint endpoint, TlsContext tls)
      : options_(std::move(options)), endpoint_(std::move(endpoint)), tls_(std::move(tls)) {}

  Result<Answer> call(std::string_view method, std::string_view target, std::string_view body,
                      std::string_view content_type) override {
    const Question question{std::string(method), std::string(target), std::string(body), std::string(content_type), options_.token};
    const auto deadline = steady_clock::now() + options_.deadline;
    const bool reused = connection_ && connection_->reusable();
    auto answer = run(question, deadline);
    // The server may close an idle connection just when we write: then the request was not read, and is sent once more.
    if (!answer && reused && answer.error().code == Code::reset) answer = run(question, deadline);
    return answer;
  }

 private:
  Result<Answer> run(const Question& question, steady_clock::time_point deadline) {
    Result<Answer> answer = fail(Code::timeout, "no answer from the orchestrator", endpoint_.text());
    loop_.restart();
    asio::co_spawn(loop_, ask(question, deadline, answer), asio::detached);
    loop_.run();
    if (!answer) connection_.reset();
    return answer;
  }

  asio::awaitable<void> ask(const Question& question, steady_clock::time_point deadline, Result<Answer>& answer) {
    const auto left = [&] { return std::max(std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()), milliseconds(1)); };
    if (!connection_ || !connection_->reusable()) {
      connection_.reset();
      auto made = co_await connect(endpoint_, tls_, true, left());
      if (!made) {
        answer = fail(std::move(made.error()));
        co_return;
      }
      connection_ = std::move(*made);
    }
    answer = co_await connection_->exchange(question, left());
  }

  ClientOptions options_;
  Endpoint endpoint_;
  TlsContext tls_;
  asio::io_context loop_{1};
  std::unique_ptr<Connection> connection_;
};

}  // namespace

Result<std::unique_ptr<Client>> Client::make(ClientOptions options) {
  auto endpoint = Endpoint::parse(options.url);
  if (!endpoint) return fail(std::move(endpoint.error()));
  TlsContext tls;
  if (!endpoint->is_unix()) {
    auto context = client_context(options.tls);
    if (!context) return fail(std::move(context.error()));
    tls = std::move(*context);
  }
  if (options.deadline.count() == 0) options.deadline = milliseconds(limits::api_deadline_ms);
  return std::make_unique<HttpClient>(std::move(options), std::move(*endpoint), std::move(tls));
}

Result<std::string> Client::request(std::string_view method, std::string_view target, std::string_view body,
                                    std::string_view content_type) {
  auto answer = call(method, target, body, content_type);
  if (!answer) return fail(std::move(answer.error()));
  if (answer->status >= 400) return fail(error_of(*answer));
  return std::move(answer->body);
}

Result<store::Record> Client::get(std::string_view kind, std::string_view name) {
  auto body = request("GET", resource_path(kind, name));
  if (!body) return fail(std::move(body.error()));
  return parse_record(*body);
}

Result<store::Listing> Client::list(std::string_view kind) {
  auto body = request("GET", resource_path(kind));
  if (!body) return fail(std::move(body.error()));
  return parse_listing(*body);
}

Result<store::Record> Client::put(std::string_view kind, std::string_view name, std::string_view document,
                                  std::optional<store::Revision> expected) {
  auto path = resource_path(kind, name);
  if (expected) path += fmt::format("?version={}", *expected);
  auto body = request("PUT", path, document);
  if (!body) return fail(std::move(body.error()));
  return parse_record(*body);
}

Result<store::Record> Client::put_status(std::string_view kind, std::string_view name, std::string_view status,
                                         std::optional<store::Revision> expected) {
  auto path = resource_path(kind, name) + "/status";
  if (expected) path += fmt::format("?version={}", *expected);
  auto body = request("PUT", path, status);
  if (!body) return fail(std::move(body.error()));
  return parse_record(*body);
}

Result<> Client::remove(std::string_view kind, std::string_view name) {
  auto body = request("DELETE", resource_path(kind, name));
  if (!body) return fail(std::move(body.error()));
  return {};
}

}  // namespace epif::api
