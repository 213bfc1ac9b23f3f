#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <thread>

#include "api/client.h"
#include "api/connection.h"
#include "api/event_parser.h"
#include "api/resource_path.h"
#include "api/resources.h"
#include "api/target.h"
#include "base/limits.h"

namespace epif::api {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
constexpr auto no_throw = asio::experimental::as_tuple(asio::use_awaitable);

// A server that stays silent for three heartbeats is taken for dead.
constexpr auto silence = milliseconds(3'000 * limits::watch_heartbeat_s);

Result<store::Event> to_event(const ServerEvent& event) {
  auto record = parse_record(event.data);
  if (!record) return fail(std::move(record.error()));
  store::Event result{event.event == "removed" ? store::Event::Type::removed : store::Event::Type::put, 0, std::move(*record)};
  std::from_chars(event.id.data(), event.id.data() + event.id.size(), result.revision);
  return result;
}

}  // namespace

/// Everything happens on `thread_`, in one coroutine: list, stream, pause, again.
class Watch::Run {
 public:
  Run(ClientOptions options, std::string kind, std::string name, WatchCalls calls)
      : options_(std::move(options)), path_(resource_path(kind)), name_(std::move(name)), calls_(std::move(calls)), pause_(loop_) {
    if (options_.deadline.count() == 0) options_.deadline = milliseconds(limits::api_deadline_ms);
    asio::co_spawn(loop_, follow(), asio::detached);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Run() {
    asio::post(loop_, [this] {
      stopping_ = true;
      pause_.cancel();
      if (connection_) connection_->close();
    });
    thread_.join();
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

 private:
  asio::awaitable<void> follow();
  /// One connection's life: list if nothing is known, then events until it breaks.
  asio::awaitable<Error> once();
  asio::awaitable<Result<>> open();
  asio::awaitable<Result<>> list();
  asio::awaitable<Result<>> stream();
  [[nodiscard]] Result<> take(const ServerEvent& event);
  void tell(const std::optional<Error>& error);
  [[nodiscard]] std::string query(std::string_view more) const;

  ClientOptions options_;
  std::string path_;
  std::string name_;
  WatchCalls calls_;
  asio::io_context loop_{1};
  asio::steady_timer pause_;
  std::unique_ptr<Connection> connection_;
  std::string store_;                      ///< identity of the store that `since_` is of; empty: it says none
  std::optional<store::Revision> since_;  ///< all up to here is known; empty: list first
  bool stopping_ = false;
  bool working_ = false;
  milliseconds wait_{limits::watch_retry_min_ms};
  std::thread thread_;
};

asio::awaitable<void> Watch::Run::follow() {
  while (!stopping_) {
    const auto error = co_await once();
    connection_.reset();
    if (stopping_) break;
    if (error.code == Code::expired && since_) {
      since_.reset();  // history is gone: list again at once
      continue;
    }
    working_ = false;
    tell(error);
    pause_.expires_after(wait_);
    wait_ = std::min(2 * wait_, milliseconds(limits::watch_retry_max_ms));
    co_await pause_.async_wait(no_throw);
  }
}

asio::awaitable<Error> Watch::Run::once() {
  auto done = co_await open();
  if (done && !since_) done = co_await list();
  if (done && !stopping_) done = co_await stream();
  if (done) co_return Error{Code::reset, "the watch ended", options_.url, "the server closed the stream", {}};
  co_return done.error();
}

asio::awaitable<Result<>> Watch::Run::open() {
  auto endpoint = Endpoint::parse(options_.url);
  if (!endpoint) co_return fail(std::move(endpoint.error()));
  TlsContext tls;
  if (!endpoint->is_unix()) {
    auto context = client_context(options_.tls);
    if (!context) co_return fail(std::move(context.error()));
    tls = std::move(*context);
  }
  // Bounded, so that destruction need not wait longer for a host that swallows packets.
  auto made = co_await connect(std::move(*endpoint), std::move(tls), true, std::min(options_.deadline, milliseconds(5'000)));
  if (!made) co_return fail(std::move(made.error()));
  connection_ = std::move(*made);
  co_return Result<>{};
}

std::string Watch::Run::query(std::string_view more) const {
  std::string text(more);
  if (!name_.empty()) text += (text.empty() ? "" : "&") + ("name=" + encode(name_));
  return text.empty() ? path_ : path_ + "?" + text;
}

asio::awaitable<Result<>> Watch::Run::list() {
  const Question question{"GET", query(""), {}, {}, options_.token};
  auto answer = co_await connection_->exchange(question, options_.deadline);
  if (!answer) co_return fail(std::move(answer.error()));
  if (answer->status != 200) co_return fail(error_of(*answer));
  auto listing = parse_listing(answer->body);
  if (!listing) co_return fail(std::move(listing.error()));
  if (stopping_) co_return Result<>{};
  calls_.listed(*listing);
  since_ = listing->revision;
  store_ = listing->store;
  co_return Result<>{};
}

asio::awaitable<Result<>> Watch::Run::stream() {
  if (!connection_->reusable()) co_return fail(Code::reset, "the server keeps no connection open", options_.url);
  const Question question{"GET", query(fmt::format("watch=1&since={}{}{}", *since_, store_.empty() ? "" : "&store=", encode(store_))), {}, {}, options_.token};
  auto answer = co_await connection_->open_stream(question, options_.deadline);
  if (!answer) co_return fail(std::move(answer.error()));
  if (answer->status != 200) co_return fail(error_of(*answer));
  EventParser parser;
  while (!stopping_) {
    auto bytes = co_await connection_->read_stream(silence);
    if (!bytes) co_return fail(std::move(bytes.error()));
    if (bytes->empty()) co_return Result<>{};
    if (!working_) tell(std::nullopt);
    working_ = true;
    wait_ = milliseconds(limits::watch_retry_min_ms);
    parser.feed(*bytes);
    for (;;) {
      auto event = parser.next();
      if (!event) co_return fail(std::move(event.error()));
      if (!*event || stopping_) break;
      auto taken = take(**event);
      if (!taken) co_return taken;
    }
  }
  co_return Result<>{};
}

Result<> Watch::Run::take(const ServerEvent& event) {
  if (event.event == "error") return fail(error_of({.status = 500, .body = event.data}));
  if (event.event == "bookmark") {
    store::Revision revision = 0;
    std::from_chars(event.id.data(), event.id.data() + event.id.size(), revision);
    since_ = std::max(*since_, revision);
    return {};
  }
  auto change = to_event(event);
  if (!change) return fail(std::move(change.error()));
  if (change->revision <= *since_) return {};
  calls_.changed(*change);
  since_ = change->revision;
  return {};
}

void Watch::Run::tell(const std::optional<Error>& error) {
  if (calls_.connection) calls_.connection(error);
}

Watch::Watch(ClientOptions options, std::string kind, std::string name, WatchCalls calls)
    : run_(std::make_unique<Run>(std::move(options), std::move(kind), std::move(name), std::move(calls))) {}

Watch::~Watch() = default;

}  // namespace epif::api
