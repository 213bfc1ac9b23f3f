#include "functions/flow.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <cstring>

#include "base/limits.h"

namespace epif::functions {
namespace {

std::string_view side_name(std::size_t side) { return side == 0 ? "client" : "server"; }

Error broken(std::size_t side, int error_number) {
  return {Code::reset, std::string(side_name(side)) + " side broke", {}, std::strerror(error_number)};
}

}  // namespace

void Flow::start(Fd client, Fd server, bridge::Start start) {
  assert(!started());
  ends_ = {std::move(client), std::move(server)};
  direct_ = {start.direct_client, start.direct_server};
  readable_ = writable_ = {true, true};
  ways_[0].early = std::move(start.early_client);
  ways_[1].early = std::move(start.early_server);
}

void Flow::ready(std::size_t side, std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_[side] = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_[side] = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_[side] = true;
}

Result<std::size_t> Flow::write_some(std::size_t way, ByteSpan bytes) {
  const std::size_t side = 1 - way;
  std::size_t written = 0;
  while (written < bytes.size() && writable_[side]) {
    const auto put = ::send(ends_[side].get(), bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
    if (put >= 0) {
      written += static_cast<std::size_t>(put);
    } else if (errno == EAGAIN) {
      writable_[side] = false;
    } else if (errno != EINTR) {
      return fail(broken(side, errno));
    }
  }
  ways_[way].written += written;
  return written;
}

Result<bool> Flow::flush(std::size_t way) {
  auto& one = ways_[way];
  if (one.pending.empty()) return true;
  const auto written = write_some(way, ByteSpan(one.pending).subspan(one.sent));
  if (!written) return fail(written.error());
  one.sent += *written;
  if (one.sent < one.pending.size()) return false;
  Bytes().swap(one.pending);  // an idle flow holds no buffer
  one.sent = 0;
  return true;
}

Result<> Flow::pass(std::size_t way, ByteSpan in) {
  auto& one = ways_[way];
  assert(one.pending.empty());
  Bytes out;
  const auto passed = transform_->feed(way == 0 ? Direction::to_server : Direction::to_client, in, out);
  if (!passed) return fail(passed.error());
  const ByteSpan result = *passed == Pass::as_is ? in : ByteSpan(out);
  const auto written = write_some(way, result);
  if (!written) return fail(written.error());
  if (*written == result.size()) return {};
  if (*passed == Pass::output) {
    one.pending = std::move(out);
    one.sent = *written;
  } else {
    one.pending.assign(result.begin() + static_cast<std::ptrdiff_t>(*written), result.end());
  }
  return {};
}

Result<Flow::Step> Flow::step(std::size_t way, MutableByteSpan scratch) {
  auto& one = ways_[way];
  const auto flushed = flush(way);
  if (!flushed) return fail(flushed.error());
  if (!*flushed) return Step::blocked;
  if (one.finished) return Step::done;
  if (!one.early.empty()) {
    const auto early = std::move(one.early);
    one.early.clear();
    if (auto passed = pass(way, early); !passed) return fail(passed.error());
    return Step::again;
  }
  if (one.read_ended) {
    one.finished = true;
    if (auto ended = transform_->finish(way == 0 ? Direction::to_server : Direction::to_client, one.pending); !ended)
      return fail(ended.error());
    return Step::again;
  }
  if (!readable_[way]) return Step::blocked;
  const auto got = ::recv(ends_[way].get(), scratch.data(), scratch.size(), 0);
  if (got < 0 && errno == EINTR) return Step::again;
  if (got < 0 && errno == EAGAIN) {
    readable_[way] = false;
    return Step::blocked;
  }
  if (got < 0) return fail(broken(way, errno));
  if (got == 0) {
    one.read_ended = true;
    return Step::again;
  }
  const auto size = static_cast<std::size_t>(got);
  if (size < scratch.size() && !hung_up_[way]) readable_[way] = false;  // drained; the next byte is a new edge
  if (auto passed = pass(way, scratch.first(size)); !passed) return fail(passed.error());
  return Step::again;
}

void Flow::shut(std::size_t way) {
  const std::size_t side = 1 - way;
  ways_[way].done = true;
  // A TCP socket that the proxy lent is ended by the proxy alone, so that our death can never look like an end.
  if (!direct_[side]) ::shutdown(ends_[side].get(), SHUT_WR);
}

void Flow::note_hold() {
  if (!transform_->holding()) hold_deadline_.reset();
  else if (!hold_deadline_) hold_deadline_ = Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms);
}

bridge::Report Flow::report(std::string_view verdict, std::string note) const {
  bridge::Report report;
  report.conn = conn_;
  report.bytes_to_server = ways_[0].written;
  report.bytes_to_client = ways_[1].written;
  report.verdict = std::string(verdict);
  report.note = std::move(note);
  if (hold_deadline_ && report.note.empty() && verdict == "cut") report.note = transform_->expired().text();
  transform_->report(report);
  return report;
}

}  // namespace epif::functions
