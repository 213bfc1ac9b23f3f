#include "bridge/control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"

namespace epif::bridge {
namespace {

std::vector<int> numbers(const std::vector<Fd>& descriptors) {
  std::vector<int> out;
  for (const auto& fd : descriptors) out.push_back(fd.get());
  return out;
}

}  // namespace

Result<std::shared_ptr<Control>> Control::connect(net::Loop& loop, const ChainLink& link) {
  auto socket = net::SeqPacket::connect(loop, link.socket);
  if (!socket)
    return epif::fail(Code::bf_failed, "bridging function is not there", link.instance, socket.error().text());
  if (link.peer_pid != 0) {
    const auto peer = net::peer_credentials((*socket)->fd());
    if (!peer) return epif::fail(Code::bf_failed, "cannot tell who listens", link.instance, peer.error().text());
    if (peer->pid != link.peer_pid)
      return epif::fail(Code::bf_failed, "another process listens on the socket", link.instance,
                        fmt::format("process {} is not {}", peer->pid, link.peer_pid));
  }
  std::shared_ptr<Control> control(new Control(loop, std::move(*socket), link.instance));
  net::spawn(receive(control));
  return control;
}

std::uint64_t Control::add(ControlListener& listener) {
  listeners_[next_conn_] = &listener;
  return next_conn_++;
}

void Control::remove(std::uint64_t conn) {
  listeners_.erase(conn);
  if (ends_with_last_ && listeners_.empty()) fail({Code::internal, "its last connection has ended", instance_});
}

void Control::send(const ToFunction& message, std::span<const int> descriptors) {
  if (failure_) return;
  auto bytes = encode(message);
  if (outbox_.empty() && !draining_) {  // draining: the message before may have left the outbox only
    auto sent = socket_->send_now(bytes, descriptors);
    OPENSSL_cleanse(sent && *sent ? bytes.data() : nullptr, sent && *sent ? bytes.size() : 0);
    if (!sent) return fail({Code::bf_failed, "the control connection broke", instance_, sent.error().text()});
    if (*sent) return;
  }
  if (outbox_.size() >= limits::bf_outbox_messages)
    return fail({Code::bf_failed, "bridging function does not read its messages", instance_});
  Waiting waiting{std::move(bytes), {}};
  for (const int fd : descriptors) {
    waiting.descriptors.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!waiting.descriptors.back()) return fail(system_error(errno, "cannot keep a descriptor for a slow function", instance_));
  }
  outbox_.push_back(std::move(waiting));
  if (draining_) return;
  draining_ = true;
  net::spawn(drain(shared_from_this()));
}

net::Task<> Control::drain(std::shared_ptr<Control> self) {
  while (!self->failure_ && !self->outbox_.empty()) {
    auto next = std::move(self->outbox_.front());
    self->outbox_.pop_front();
    const auto fds = numbers(next.descriptors);
    auto sent = co_await self->socket_->send(next.bytes, fds);
    OPENSSL_cleanse(next.bytes.data(), next.bytes.size());
    if (!sent) self->fail({Code::bf_failed, "the control connection broke", self->instance_, sent.error().text()});
  }
  self->draining_ = false;
}

Result<> Control::take(net::SeqPacket::Message message) {
  if (message.truncated || !message.descriptors.empty())
    return epif::fail(Code::protocol, "sent descriptors or an oversized message");
  if (++received_ > limits::bf_messages_per_connection * next_conn_)
    return epif::fail(Code::protocol, "floods its control connection");
  auto decoded = decode_from_function(message.bytes);
  if (!decoded) return epif::fail(decoded.error());
  const auto conn = connection_of(*decoded);
  if (conn == 0 || conn >= next_conn_) return epif::fail(Code::protocol, "speaks of a connection that was never opened");
  // A connection that has ended here may still be reported: the message was under way.
  if (const auto found = listeners_.find(conn); found != listeners_.end()) found->second->on_message(std::move(*decoded));
  return {};
}

net::Task<> Control::receive(std::shared_ptr<Control> self) {
  while (!self->failure_) {
    auto message = co_await self->socket_->receive(limits::bf_message_max_bytes);
    if (self->failure_) break;
    if (!message) {
      self->fail({Code::bf_failed, "bridging function is gone", self->instance_, message.error().text()});
      break;
    }
    auto taken = self->take(std::move(*message));
    if (!taken) self->fail({Code::bf_failed, "bridging function broke its contract", self->instance_, taken.error().text()});
  }
}

void Control::fail(Error why) {
  if (failure_) return;
  failure_ = why;
  const auto self = shared_from_this();
  socket_->abort(why);
  // Close for the other side now; our coroutines still hold the object.
  ::shutdown(socket_->fd(), SHUT_RDWR);
  outbox_.clear();
  std::vector<std::uint64_t> conns;
  for (const auto& [conn, listener] : listeners_) conns.push_back(conn);
  for (const auto conn : conns)
    if (const auto found = listeners_.find(conn); found != listeners_.end()) found->second->on_failure(why);
}

}  // namespace epif::bridge
