#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "api/pki.h"
#include "base/fd.h"
#include "base/limits.h"

namespace epif::api {
namespace {

constexpr std::string_view unfinished = ".new.";

Result<> write_fully(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(system_error(errno, "cannot write", path));
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd) != 0) return fail(system_error(errno, "cannot write", path));
  return {};
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<> write_file(const std::string& path, std::string_view text, unsigned mode) {
  const auto beside = fmt::format("{}{}{}", path, unfinished, ::gettid());
  ::unlink(beside.c_str());  // a crash left it, and the number has come round: no other thread of this machine has it now
  Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return fail(system_error(errno, "cannot make", beside));
  Result<> done = write_fully(file.get(), text, path);
  // The mode given to open is cut by the umask.
  if (done && ::fchmod(file.get(), mode) != 0) done = fail(system_error(errno, "cannot set the mode of", path));
  file.reset();
  if (done && ::rename(beside.c_str(), path.c_str()) != 0) done = fail(system_error(errno, "cannot replace", path));
  if (!done) {
    ::unlink(beside.c_str());
    return done;
  }
  const Fd folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder) ::fsync(folder.get());  // the rename itself survives a power loss
  return {};
}

void remove_unfinished(const std::string& path) {
  const std::filesystem::path whole(path);
  const auto start = whole.filename().string() + std::string(unfinished);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(path), ignored)) {
    if (entry.path().filename().string().starts_with(start)) ::unlink(entry.path().c_str());
  }
}

Result<std::string> read_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail(system_error(errno, "cannot read", path));
  std::string text;
  for (;;) {
    char buffer[16 * 1024];
    const auto size = ::read(file.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail(system_error(errno, "cannot read", path));
    if (size == 0) return text;
    text.append(buffer, static_cast<std::size_t>(size));
    if (text.size() > limits::document_max_bytes) {
      return fail(Code::limit, "file too large", path, fmt::format("at most {} bytes", limits::document_max_bytes));
    }
  }
}

}  // namespace epif::api
