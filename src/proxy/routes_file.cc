#include "proxy/routes_file.h"

#include <fmt/format.h>
#include <sys/inotify.h>

#include <fstream>
#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/log.h"

namespace epif::proxy {

namespace {

/// The folder, not the file: a rename puts another file under the name.
Result<int> watch_folder_of(const std::filesystem::path& file, int inotify) {
  constexpr std::uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  const int number = ::inotify_add_watch(inotify, folder.c_str(), events);
  if (number < 0) return fail(system_error(errno, "cannot watch the folder of the routes file", folder.string()));
  return number;
}

}  // namespace

struct RoutesFile::Watch {
  net::Loop& loop;
  std::filesystem::path file;
  OnTable on_table;
  Fd inotify;
  int folder = -1;  ///< the kernel's number of the watch
  net::Interest interest;
  std::shared_ptr<const Routing> routing;
  TableState state;
  bool closed = false;
  std::optional<std::chrono::milliseconds> patience;  ///< fail_closed_after()
  net::Loop::Timer blind;                             ///< armed while the file cannot be read and that counts

  Watch(net::Loop& on, std::filesystem::path path, OnTable callback, Fd fd)
      : loop(on), file(std::move(path)), on_table(std::move(callback)), inotify(std::move(fd)), interest(on, inotify.get()) {}

  [[nodiscard]] Result<> read() {
    auto table = read_routes(file);
    if (!table) {
      ++state.failed_reloads;
      state.last_error = table.error().text();
      expect_routes();
      return fail(std::move(table.error()));
    }
    ++state.reloads;
    state.last_error.clear();
    blind.cancel();
    state.generation = table->generation;
    state.routes = table->routes.size();
    if (routing && routing->table() == *table) return {};
    routing = Routing::of(std::move(*table));
    if (on_table) on_table(routing);
    return {};
  }

  /// After a failed reading: waits for a better one, if it must not wait for ever.
  void expect_routes() {
    if (!patience || state.last_error.empty() || blind.armed()) return;
    blind = loop.after(*patience, [this] {
      log::error("proxy", Error{Code::denied, "the routes stay unreadable, and nobody can say what they still permit", file.string(),
                                state.last_error, "all flows that drain are cut"});
      routing = Routing::of({});
      state.routes = 0;
      if (on_table) on_table(routing);
    });
  }

  void reload() {
    const auto outcome = read();
    if (outcome) {
      log::info("proxy", "routes read", {{"file", file.string()}, {"routes", std::to_string(state.routes)},
                                         {"generation", std::to_string(state.generation)}});
    } else {
      const auto* kept = !patience ? "the table before keeps serving" : blind.armed() ? "the table before, for seconds" : "no route";
      log::error("proxy", outcome.error(), {{"kept", kept}});
    }
  }

  /// True if one of the waiting events is about our file.
  [[nodiscard]] bool drain_events() {
    bool ours = false;
    alignas(inotify_event) std::array<char, 16 * 1024> buffer;
    for (;;) {
      const auto got = ::read(inotify.get(), buffer.data(), buffer.size());
      if (got <= 0) break;
      for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        if ((event->mask & IN_Q_OVERFLOW) != 0 || (event->len > 0 && file.filename() == event->name)) ours = true;
        at += sizeof(inotify_event) + event->len;
      }
    }
    interest.drained_read();
    return ours;
  }
};

Result<RouteTable> read_routes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Code::not_found, "cannot read the routes", file.string(), std::strerror(errno));
  std::error_code failure;
  const auto size = std::filesystem::file_size(file, failure);
  if (!failure && size > limits::routes_file_max_bytes) {
    return fail(Code::limit, "the routes file is too large", file.string(), fmt::format("{} bytes", size));
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse_routes(text, file.string());
}

Result<std::unique_ptr<RoutesFile>> RoutesFile::open(net::Loop& loop, std::filesystem::path file, OnTable on_table) {
  Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) return fail(system_error(errno, "cannot watch the routes file", file.string()));
  // Watched before the first reading, so that no change falls between.
  auto watched = watch_folder_of(file, inotify.get());
  if (!watched) return fail(std::move(watched.error()));
  auto watch = std::make_shared<Watch>(loop, std::move(file), std::move(on_table), std::move(inotify));
  watch->folder = *watched;
  auto outcome = watch->read();
  if (!outcome) return fail(std::move(outcome.error()));
  net::spawn(run(watch));
  return std::unique_ptr<RoutesFile>(new RoutesFile(std::move(watch)));
}

RoutesFile::RoutesFile(std::shared_ptr<Watch> watch) : watch_(std::move(watch)) {}

RoutesFile::~RoutesFile() {
  watch_->closed = true;
  watch_->blind.cancel();
  watch_->interest.fail({Code::internal, "the routes file is no longer watched"});
}

net::Task<void> RoutesFile::run(std::shared_ptr<Watch> watch) {
  while (!watch->closed) {
    auto ready = co_await watch->interest.readable();
    if (!ready) co_return;
    if (watch->drain_events()) watch->reload();
  }
}

void RoutesFile::reload() { watch_->reload(); }

void RoutesFile::follow(std::filesystem::path file) {
  auto& watch = *watch_;
  watch.file = std::move(file);
  auto watched = watch_folder_of(watch.file, watch.inotify.get());
  // Two files of one folder share its watch.
  if (watched && *watched != watch.folder) ::inotify_rm_watch(watch.inotify.get(), std::exchange(watch.folder, *watched));
  if (!watched) log::error("proxy", watched.error());
  log::info("proxy", "what drains follows the successor's routes", {{"file", watch.file.string()}});
  watch.reload();
}

void RoutesFile::fail_closed_after(std::chrono::milliseconds patience) {
  watch_->patience = patience;
  watch_->expect_routes();
}

std::shared_ptr<const Routing> RoutesFile::routing() const { return watch_->routing; }
TableState RoutesFile::state() const { return watch_->state; }
std::filesystem::path RoutesFile::file() const { return std::filesystem::absolute(watch_->file); }

}  // namespace epif::proxy
