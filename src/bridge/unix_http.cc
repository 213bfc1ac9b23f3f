#include "bridge/unix_http.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/fd.h"

namespace epif::bridge {
namespace {

using Clock = std::chrono::steady_clock;

class Connection {
 public:
  Connection(const std::filesystem::path& socket, std::uint32_t deadline_ms)
      : where_(socket.string()), deadline_(Clock::now() + std::chrono::milliseconds(deadline_ms)) {}

  Result<> connect() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (where_.size() >= sizeof address.sun_path) return broken("its socket's path is too long");
    std::memcpy(address.sun_path, where_.c_str(), where_.size() + 1);
    fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) return fail(system_error(errno, "cannot make a socket", where_));
    while (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      if (errno != EAGAIN && errno != EINTR) return broken(std::strerror(errno));  // EAGAIN: its backlog is full
      if (Clock::now() >= deadline_) return broken("it does not accept connections in time");
      ::poll(nullptr, 0, 10);
    }
    return {};
  }

  Result<> write(ByteSpan bytes) {
    while (!bytes.empty()) {
      const auto put = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put > 0) bytes = bytes.subspan(static_cast<std::size_t>(put));
      else if (errno != EAGAIN && errno != EINTR) return broken(std::strerror(errno));
      else if (auto ready = wait(POLLOUT); !ready) return ready;
    }
    return {};
  }

  /// 0 at the end of the stream.
  Result<std::size_t> read(MutableByteSpan into) {
    for (;;) {
      const auto got = ::recv(fd_.get(), into.data(), into.size(), 0);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EAGAIN && errno != EINTR) return fail(broken(std::strerror(errno)).error());
      if (auto ready = wait(POLLIN); !ready) return fail(ready.error());
    }
  }

  std::unexpected<Error> failure(std::string why) const {
    return fail(Code::engine, "the container engine does not answer", where_, std::move(why),
                "check that the engine runs and listens there");
  }

 private:
  Result<> broken(std::string why) const { return failure(std::move(why)); }
  Result<> wait(short events) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    pollfd one{fd_.get(), events, 0};
    if (left <= 0 || ::poll(&one, 1, static_cast<int>(left) + 1) == 0) return broken("no answer in time");
    return {};
  }
  std::string where_;
  Clock::time_point deadline_;
  Fd fd_;
};

}  // namespace

Result<HttpAnswer> unix_http(const std::filesystem::path& socket, std::string_view method, std::string_view target,
                             std::string_view content_type, ByteSpan body, std::uint32_t deadline_ms) {
  Connection connection(socket, deadline_ms);
  if (auto connected = connection.connect(); !connected) return fail(connected.error());
  auto head = fmt::format("{} {} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n", method, target);
  if (!content_type.empty()) head += fmt::format("Content-Type: {}\r\n", content_type);
  head += fmt::format("Content-Length: {}\r\n\r\n", body.size());
  if (auto written = connection.write(as_bytes(head)); !written) return fail(written.error());
  if (auto written = connection.write(body); !written) return fail(written.error());
  auto answer = read_http_answer([&](MutableByteSpan into) { return connection.read(into); }, method == "HEAD");
  if (!answer && answer.error().where.empty()) return connection.failure(std::move(answer.error().why));  // the connection's say where
  return answer;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                       c == '_' || c == '~';
    if (plain) out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace epif::bridge
