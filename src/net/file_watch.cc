#include "net/file_watch.h"

#include <sys/inotify.h>

#include <cstring>
#include <filesystem>

#include "net/task.h"

namespace epif::net {

struct FileWatch::State {
  State(Loop& loop, Fd inotify, std::string file, OnChange callback)
      : fd(std::move(inotify)), interest(loop, fd.get()), name(std::move(file)), on_change(std::move(callback)) {}
  Fd fd;
  Interest interest;
  std::string name;  ///< without its folder
  OnChange on_change;

  /// Reads all events; true if one concerns the file (or events were lost).
  bool drain() {
    bool concerned = false;
    for (;;) {
      const auto buffer = interest.loop().scratch();
      const auto got = ::read(fd.get(), buffer.data(), buffer.size());
      if (got <= 0) break;
      for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(got);) {
        inotify_event event{};
        std::memcpy(&event, &buffer[at], sizeof event);
        // The name is padded with NULs.
        const auto* text = reinterpret_cast<const char*>(&buffer[at + sizeof event]);
        if ((event.mask & IN_Q_OVERFLOW) != 0 || (event.len > 0 && name == text)) concerned = true;
        at += sizeof event + event.len;
      }
    }
    interest.drained_read();
    return concerned;
  }

  static Task<void> run(std::shared_ptr<State> state) {
    for (;;) {
      auto ready = co_await state->interest.readable();
      if (!ready) co_return;
      if (state->drain() && state->on_change) state->on_change();
    }
  }
};

Result<std::unique_ptr<FileWatch>> FileWatch::start(Loop& loop, const std::string& path, OnChange on_change) {
  const auto absolute = std::filesystem::absolute(path);
  Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify || ::inotify_add_watch(inotify.get(), absolute.parent_path().c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE) < 0) {
    return fail(system_error(errno, "cannot watch the folder", absolute.parent_path()));
  }
  auto state = std::make_shared<State>(loop, std::move(inotify), absolute.filename(), std::move(on_change));
  spawn(State::run(state));
  return std::unique_ptr<FileWatch>(new FileWatch(std::move(state)));
}

FileWatch::~FileWatch() {
  state_->on_change = nullptr;
  state_->interest.fail({Code::internal, "watch ended"});
}

}  // namespace epif::net
