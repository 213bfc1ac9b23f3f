#include "bridge/chain_state.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>

#include "base/limits.h"

namespace epif::bridge {
namespace {

// tcpi_state; <netinet/tcp.h> names these, but its tcp_info is older than <linux/tcp.h>'s.
enum : std::uint8_t { TCP_TIME_WAIT = 6, TCP_CLOSE = 7, TCP_CLOSE_WAIT = 8, TCP_LAST_ACK = 9, TCP_CLOSING = 11 };

std::optional<tcp_info> info_of(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return std::nullopt;
  return info;
}

/// What a BF's own socket received after it got it.
std::uint64_t received_since(int fd, std::uint64_t base) { return std::max(kernel_received(fd).value_or(base), base) - base; }

}  // namespace

std::optional<std::uint64_t> kernel_received(int fd) {
  const auto info = info_of(fd);
  if (!info) return std::nullopt;
  // The kernel counts a FIN as a byte.
  const auto state = info->tcpi_state;
  const bool ended = state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING || state == TCP_TIME_WAIT || state == TCP_CLOSE;
  return info->tcpi_bytes_received - (ended && info->tcpi_bytes_received > 0 ? 1 : 0);
}

std::optional<std::uint64_t> kernel_read(int fd) {
  const auto before = kernel_received(fd);
  int waiting = 0;
  if (!before || ::ioctl(fd, SIOCINQ, &waiting) != 0) return std::nullopt;
  if (kernel_received(fd) != before) return kernel_read(fd);  // what came in between would be counted by one of them only
  const auto unread = static_cast<std::uint64_t>(waiting);
  return *before - std::min(*before, unread);
}

std::optional<std::uint64_t> kernel_written(int fd) {
  int queued = 0;
  // The queue first: what is acknowledged in between would be counted by neither.
  const auto before = info_of(fd);
  if (!before || ::ioctl(fd, SIOCOUTQ, &queued) != 0) return std::nullopt;
  const auto after = info_of(fd);
  if (!after) return std::nullopt;
  if (after->tcpi_bytes_acked != before->tcpi_bytes_acked) return kernel_written(fd);
  return after->tcpi_bytes_acked + static_cast<std::uint64_t>(queued);
}

void Chain::State::wake() {
  opened.raise();
  for (auto& end : ends) end.raise();
  reports.raise();
}

void Chain::State::fail(Error why) {
  if (failure || left) return;
  failure = std::move(why);
  static_cast<void>(bytes_from_client()), static_cast<void>(bytes_from_server());  // noted while the kernel still knows
  const auto reason = failure->text();
  for (const auto& link : links) link->cut(reason);
  for (auto* stream : {client, server, static_cast<net::Stream*>(client_end.get()), static_cast<net::Stream*>(server_end.get())})
    if (stream != nullptr) stream->abort(*failure);
  for (const auto& joint : joints) net::reset_socket(joint.get());
  for (const auto& link : links)
    for (const auto& fd : link->kept)
      if (fd) net::reset_socket(fd.get());
  wake();
}

bool Chain::State::announced(std::size_t way) const {
  return std::all_of(links.begin(), links.end(), [way](const auto& link) { return link->ended(way).has_value(); });
}

std::uint64_t Chain::State::bytes_from_client() {
  auto count = from_client.bytes;
  if (direct_client && client != nullptr) count += received_since(client->clear_socket(), kernel_base_client);
  return counted_client = std::max(counted_client, count);
}

std::uint64_t Chain::State::bytes_from_server() {
  auto count = from_server.bytes;
  if (direct_server && server != nullptr) count += received_since(server->clear_socket(), kernel_base_server);
  return counted_server = std::max(counted_server, count);
}

Result<> ByteLimit::check(std::uint64_t bytes) const {
  if (!most_ || bytes <= *most_) return {};
  return epif::fail(Code::limit, "more bytes than the route allows in the direction without data", std::string(source_),
                    fmt::format("limit {}", *most_));
}

void Chain::State::watch_direct() {
  if (failure || !(direct_client || direct_server)) return;
  for (const auto& checked : {ByteLimit(limits.from_client_bytes, "from the client").check(bytes_from_client()),
                              ByteLimit(limits.from_server_bytes, "from the server").check(bytes_from_server())})
    if (!checked) return fail(checked.error());
  const auto bytes = bytes_from_client() + bytes_from_server();
  if (bytes != watched_bytes || watched_since == net::TimePoint{}) watched_bytes = bytes, watched_since = loop.now();
  const bool half = announced(way_to_server) || announced(way_to_client);
  if (loop.now() - watched_since >= std::chrono::seconds(half ? limits.half_closed_s : limits.idle_s))
    return fail({Code::timeout, half ? "one side ended and the other stayed silent" : "the flow was idle too long"});
  watch = loop.after(std::chrono::milliseconds(limits::bf_direct_look_ms), [this] { watch_direct(); });
}

net::Task<Result<>> await_announced(Chain::State& chain, std::size_t way, net::TimePoint deadline) {
  while (!chain.announced(way) && !chain.failure && !chain.left && net::Clock::now() < deadline) co_await chain.ends[way].until(deadline);
  if (chain.left) co_return epif::fail(Code::internal, "the chain goes on in another process", chain.header.flow);
  if (chain.failure) co_return epif::fail(*chain.failure);
  // An answer before a reset is passed on, but never with a clean end.
  if (chain.server_broke && way == way_to_client) co_return epif::fail(*chain.server_broke);
  if (chain.announced(way)) co_return Result<>{};
  co_return epif::fail(Code::bf_failed, "a stream ended that not every bridging function announced", chain.header.flow,
                       "it may have died in the middle of a transfer");
}

net::Task<Result<>> AnnouncedEnd::before_end(const net::Carried& carried) {
  // What was announced was sent before the stream was shut down, so the word is here already or comes at once.
  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::bf_report_wait_ms);
  auto announced = co_await await_announced(chain_, way_, deadline);
  if (!announced) co_return announced;
  const auto& last = way_ == way_to_server ? *chain_.links.back() : *chain_.links.front();
  if (*last.ended(way_) == carried.bytes) co_return Result<>{};
  co_return epif::fail(Code::bf_failed, "bridging function announced another number of bytes than it wrote",
                       last.description().instance, fmt::format("{} announced, {} carried", *last.ended(way_), carried.bytes));
}

}  // namespace epif::bridge
