#include "proxy/handover.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "base/limits.h"
#include "base/log.h"

namespace epif::proxy {
namespace {

constexpr std::string_view end_of_list = "end";
constexpr std::string_view serving = "serving";
constexpr std::size_t message_max_bytes = 256;

net::TimePoint patience() { return net::Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms); }

}  // namespace

std::string handover_path(const std::string& admin_path) { return admin_path + ".handover"; }

struct Handover::State {
  net::Loop& loop;
  std::string path;
  std::uint64_t inode = 0;
  std::vector<Listening> sockets;
  OnReady on_ready;
  std::unique_ptr<net::Acceptor> acceptor{};
};

Handover::Handover(net::Loop& loop, Fd listener, std::string path, std::vector<Listening> sockets, OnReady on_ready) {
  struct stat facts {};
  ::stat(path.c_str(), &facts);
  state_ = std::make_shared<State>(loop, std::move(path), facts.st_ino, std::move(sockets), std::move(on_ready));
  state_->acceptor = std::make_unique<net::Acceptor>(loop, std::move(listener), [weak = std::weak_ptr(state_)](Fd connection, SocketAddress) {
    if (auto strong = weak.lock()) net::spawn(serve(std::move(strong), std::move(connection)));
  });
}

Handover::~Handover() {
  state_->acceptor.reset();
  state_->on_ready = nullptr;
  // A successor has its own socket under this name.
  struct stat facts {};
  if (::stat(state_->path.c_str(), &facts) == 0 && facts.st_ino == state_->inode) ::unlink(state_->path.c_str());
}

net::Task<void> Handover::serve(std::shared_ptr<State> state, Fd connection) {
  const auto who = net::peer_credentials(connection.get());
  if (!who || who->uid != ::geteuid()) co_return;
  net::SeqPacket successor(state->loop, std::move(connection));
  for (const auto& one : state->sockets) {
    const auto text = print_listening(one);
    const int descriptor = one.socket.get();
    auto sent = co_await successor.send(as_bytes(text), {&descriptor, 1}, patience());
    if (!sent) co_return;
  }
  auto sent = co_await successor.send(as_bytes(end_of_list), {}, patience());
  if (!sent) co_return;
  log::info("proxy", "a new process takes over", {{"pid", std::to_string(who->pid)}});
  auto answer = co_await successor.receive(message_max_bytes, patience());
  if (!answer || as_text(answer->bytes) != serving) {
    log::warn("proxy", "the new process did not come to serve; this one goes on", {{"pid", std::to_string(who->pid)}});
    co_return;
  }
  // Moved out: it may end this hand-over, and runs once.
  const auto ready = std::exchange(state->on_ready, nullptr);
  if (ready) ready();
}

namespace {

net::Task<void> receive_all(net::Loop& loop, const std::string& path, std::optional<Result<Inheritance>>& out) {
  auto connected = net::SeqPacket::connect(loop, path);
  if (!connected) {
    out = fail(std::move(connected.error()));
    co_return;
  }
  Inheritance got;
  got.predecessor = std::move(*connected);
  for (;;) {
    auto message = co_await got.predecessor->receive(message_max_bytes, patience());
    if (!message) {
      out = fail(std::move(message.error()));
      co_return;
    }
    if (as_text(message->bytes) == end_of_list) break;
    auto one = parse_listening(as_text(message->bytes));
    if (!one || message->truncated || message->descriptors.size() != 1) {
      out = one ? fail(Code::protocol, "a socket was lost on its way from the running proxy", path) : fail(std::move(one.error()));
      co_return;
    }
    one->socket = std::move(message->descriptors.front());
    got.sockets.push_back(std::move(*one));
  }
  out.emplace(std::move(got));
}

}  // namespace

Result<Inheritance> take_over(net::Loop& loop, const std::string& path) {
  std::optional<Result<Inheritance>> outcome;
  net::spawn(receive_all(loop, path, outcome));
  while (!outcome) loop.run_once(std::chrono::milliseconds(limits::handshake_deadline_ms));
  return std::move(*outcome);
}

void announce(net::SeqPacket& predecessor) {
  // If it is gone meanwhile, it accepts nothing either.
  static_cast<void>(predecessor.send_now(as_bytes(serving)));
}

}  // namespace epif::proxy
