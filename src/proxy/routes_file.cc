#include "proxy/routes_file.h"

#include <fmt/format.h>
#include <sys/inotify.h>

#include <fstream>

#include "base/limits.h"
#include "base/log.h"

namespace epif::proxy {

struct RoutesFile::Watch {
  std::filesystem::path file;
  OnTable on_table;
  Fd inotify;
  net::Interest interest;
  std::shared_ptr<const Routing> routing;
  TableState state;
  bool closed = false;

  Watch(net::Loop& loop, std::filesystem::path path, OnTable callback, Fd fd)
      : file(std::move(path)), on_table(std::move(callback)), inotify(std::move(fd)), interest(loop, inotify.get()) {}

  [[nodiscard]] Result<> read() {
    auto table = read_routes(file);
    if (!table) {
      ++state.failed_reloads;
      state.last_error = table.error().text();
      return fail(std::move(table.error()));
    }
    ++state.reloads;
    state.last_error.clear();
    state.generation = table->generation;
    state.routes = table->routes.size();
    if (routing && routing->table() == *table) return {};
    routing = Routing::of(std::move(*table));
    if (on_table) on_table(routing);
    return {};
  }

  void reload() {
    const auto outcome = read();
    if (outcome) {
      log::info("proxy", "routes read", {{"file", file.string()}, {"routes", std::to_string(state.routes)},
                                         {"generation", std::to_string(state.generation)}});
    } else {
      log::error("proxy", outcome.error(), {{"kept", "the table before keeps serving"}});
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
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  // The folder, not the file: a rename puts another file under the name. Watched before the first reading, so that no
  // change falls between.
  constexpr std::uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
  if (::inotify_add_watch(inotify.get(), folder.c_str(), events) < 0) {
    return fail(system_error(errno, "cannot watch the folder of the routes file", folder.string()));
  }
  auto watch = std::make_shared<Watch>(loop, std::move(file), std::move(on_table), std::move(inotify));
  auto outcome = watch->read();
  if (!outcome) return fail(std::move(outcome.error()));
  net::spawn(run(watch));
  return std::unique_ptr<RoutesFile>(new RoutesFile(std::move(watch)));
}

RoutesFile::RoutesFile(std::shared_ptr<Watch> watch) : watch_(std::move(watch)) {}

RoutesFile::~RoutesFile() {
  watch_->closed = true;
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
std::shared_ptr<const Routing> RoutesFile::routing() const { return watch_->routing; }
TableState RoutesFile::state() const { return watch_->state; }
std::filesystem::path RoutesFile::file() const { return std::filesystem::absolute(watch_->file); }

}  // namespace epif::proxy
