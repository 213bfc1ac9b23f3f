#include "net/handover.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/log.h"

namespace epif::net {
namespace {

constexpr std::string_view end_of_list = "end";
constexpr std::string_view serving = "serving";
constexpr std::string_view yours = "yours";
constexpr std::string_view stop = "stop";
constexpr std::size_t message_max_bytes = 256;

TimePoint patience() { return Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms); }

}  // namespace

struct Handover::State {
  Loop& loop;
  std::string path;
  std::uint64_t inode = 0;
  std::vector<Handed> things;
  Calls calls;
  std::unique_ptr<Acceptor> acceptor{};
  std::shared_ptr<SeqPacket> successor{};  ///< the one that serves
  bool taken = false;              ///< one has the things in hand, or serves

  static Task<bool> give(State& state, SeqPacket& to);
  static void accept_from(const std::shared_ptr<State>& state, Fd listener);
  static void take_name_back(const std::shared_ptr<State>& state);
};

void Handover::State::accept_from(const std::shared_ptr<State>& state, Fd listener) {
  state->inode = inode_of(state->path);
  state->acceptor = std::make_unique<Acceptor>(state->loop, std::move(listener), [weak = std::weak_ptr(state)](Fd connection, SocketAddress) {
    if (auto strong = weak.lock()) spawn(serve(std::move(strong), std::move(connection)));
  });
}

/// A successor may have put its own socket under the name before it failed; the next one is to find this process again.
void Handover::State::take_name_back(const std::shared_ptr<State>& state) {
  if (!state->acceptor || inode_of(state->path) == state->inode) return;
  auto listener = succeed_unix(state->path, SOCK_SEQPACKET);
  if (listener) return accept_from(state, std::move(*listener));
  log::error("handover", listener.error());
}

Handover::Handover(Loop& loop, Fd listener, std::string path, std::vector<Handed> things, Calls calls) {
  state_ = std::make_shared<State>(loop, std::move(path), 0, std::move(things), std::move(calls));
  State::accept_from(state_, std::move(listener));
}

void Handover::close() {
  if (!state_->acceptor) return;
  unlink_own(state_->path, state_->inode);  // first: once it is closed, another's socket may have the same inode
  state_->acceptor.reset();
  state_->things.clear();
}

Task<Result<>> Handover::give(std::string what, const std::vector<Fd>& descriptors) {
  const auto successor = state_->successor;
  if (!successor) co_return fail(Code::reset, "the successor has gone away");
  std::vector<int> numbers;
  for (const auto& one : descriptors) numbers.push_back(one.get());
  auto sent = co_await successor->send(as_bytes(what), numbers, patience());
  // A part of what belongs together must not be taken for all of it.
  if (!sent) ::shutdown(successor->fd(), SHUT_RDWR);
  co_return sent;
}

bool Handover::tell(std::string_view what) {
  return state_->successor && state_->successor->send_now(as_bytes(what)).value_or(false);
}

Handover::~Handover() {
  close();
  state_->calls = {};
  if (state_->successor != nullptr) state_->successor->abort({Code::internal, "the process ends"});
}

Task<bool> Handover::State::give(State& state, SeqPacket& to) {
  std::vector<std::pair<std::string, int>> list;
  for (const auto& thing : state.things) list.emplace_back(thing.what, thing.descriptor.get());
  const auto more = state.calls.more ? state.calls.more() : std::vector<Handed>{};
  for (const auto& thing : more) list.emplace_back(thing.what, thing.descriptor.get());
  for (const auto& [what, descriptor] : list) {
    assert(what != end_of_list && what.size() < message_max_bytes);
    const std::span<const int> descriptors(&descriptor, descriptor >= 0 ? 1 : 0);
    auto sent = co_await to.send(as_bytes(what), descriptors, patience());
    if (!sent) co_return false;
  }
  auto sent = co_await to.send(as_bytes(end_of_list), {}, patience());
  co_return sent.has_value();
}

Task<void> Handover::serve(std::shared_ptr<State> state, Fd connection) {
  const auto who = peer_credentials(connection.get());
  if (!who || who->uid != ::geteuid()) co_return;
  if (std::exchange(state->taken, true)) {
    // Both would change what there is once, and the one that gives up first would have it set back under the other.
    log::warn("handover", "another process takes over already", {{"turned_away", std::to_string(who->pid)}});
    co_return;
  }
  const auto successor = std::make_shared<SeqPacket>(state->loop, std::move(connection));
  log::info("handover", "a new process takes over", {{"pid", std::to_string(who->pid)}});
  if (state->calls.asked) state->calls.asked();
  auto given = co_await State::give(*state, *successor);
  Result<SeqPacket::Message> answer = fail(Code::reset, "it went away");
  if (given) answer = co_await successor->receive(message_max_bytes, patience());
  // Told first: one that has waited too long is gone, and this process goes on.
  bool told = answer && as_text(answer->bytes).starts_with(serving);
  if (told) told = successor->send_now(as_bytes(yours)).value_or(false);
  if (!told) {
    log::warn("handover", "the new process did not come to serve; this one goes on", {{"pid", std::to_string(who->pid)}});
    state->taken = false;
    State::take_name_back(state);
    if (state->calls.abandoned) state->calls.abandoned();
    co_return;
  }
  state->successor = successor;
  auto words = as_text(answer->bytes).substr(serving.size());
  if (words.starts_with(' ')) words.remove_prefix(1);
  // Moved out: it may end this hand-over, and runs once.
  const auto ready = std::exchange(state->calls.serving, nullptr);
  if (ready) ready(words);
  auto last = co_await successor->receive(message_max_bytes);
  while (last) {
    const auto said = as_text(last->bytes);
    if (said == stop && state->calls.stopped) state->calls.stopped();
    if (said != stop && state->calls.said) state->calls.said(said);
    last = co_await successor->receive(message_max_bytes);
  }
  state->successor.reset();
  if (state->calls.gone) state->calls.gone();
}

namespace {

Task<void> receive_all(Loop& loop, const std::string& path, std::optional<Result<Inheritance>>& out) {
  auto connected = SeqPacket::connect(loop, path);
  if (!connected) {
    out = fail(std::move(connected.error()));
    co_return;
  }
  const auto who = peer_credentials((*connected)->fd());
  if (!who || who->uid != ::geteuid()) {
    out = fail(Code::permission, "the running process belongs to another user", path);
    co_return;
  }
  Inheritance got;
  got.predecessor = std::move(*connected);
  for (;;) {
    auto message = co_await got.predecessor->receive(message_max_bytes, patience());
    if (!message) {
      const bool turned_away = got.things.empty() && message.error().code == Code::reset;
      if (turned_away) {
        out = fail(Code::conflict, "the running process gives nothing away", path, "another one takes over already, or it ends", "try again");
      } else {
        out = fail(std::move(message.error()));
      }
      co_return;
    }
    if (as_text(message->bytes) == end_of_list) break;
    if (message->truncated || message->descriptors.size() > 1) {
      out = fail(Code::protocol, "a socket was lost on its way from the running process", path);
      co_return;
    }
    got.things.push_back({std::string(as_text(message->bytes)), message->descriptors.empty() ? Fd() : std::move(message->descriptors.front())});
  }
  out.emplace(std::move(got));
}

}  // namespace

Result<Inheritance> take_over(Loop& loop, const std::string& path) {
  std::optional<Result<Inheritance>> outcome;
  spawn(receive_all(loop, path, outcome));
  while (!outcome) loop.run_once(std::chrono::milliseconds(limits::handshake_deadline_ms));
  return std::move(*outcome);
}

void announce(SeqPacket& predecessor, std::string_view words) {
  std::string text(serving);
  if (!words.empty()) text.append(" ").append(words);
  // If it is gone meanwhile, it accepts nothing either.
  static_cast<void>(predecessor.send_now(as_bytes(text)));
}

namespace {

Task<void> hear_consent(SeqPacket& predecessor, std::optional<bool>& out) {
  auto answer = co_await predecessor.receive(message_max_bytes, patience());
  out = answer && as_text(answer->bytes) == yours;
}

}  // namespace

Result<> announce_and_wait(Loop& loop, SeqPacket& predecessor, std::string_view words) {
  announce(predecessor, words);
  std::optional<bool> consents;
  spawn(hear_consent(predecessor, consents));
  while (!consents) loop.run_once(std::chrono::milliseconds(limits::handshake_deadline_ms));
  if (*consents) return {};
  ::shutdown(predecessor.fd(), SHUT_RDWR);  // whatever it says now is too late
  return fail(Code::conflict, "the running process goes on itself", {}, "it has waited too long, or ended", "try again");
}

Task<Result<SeqPacket::Message>> receive_given(SeqPacket& predecessor) {
  for (;;) {
    auto message = co_await predecessor.receive(limits::handover_message_max_bytes);
    if (!message || as_text(message->bytes) != yours) co_return message;
  }
}

void show_draining() { ::prctl(PR_SET_NAME, draining_name.data()); }

void say(SeqPacket& predecessor, std::string_view words) { static_cast<void>(predecessor.send_now(as_bytes(words))); }

void dismiss(SeqPacket& predecessor) { static_cast<void>(predecessor.send_now(as_bytes(stop))); }

Result<Fd> succeed_unix(const std::string& path, int type) {
  const auto fresh = path + ".new";
  auto listener = listen_unix(fresh, type);
  if (!listener) return listener;
  if (::rename(fresh.c_str(), path.c_str()) != 0) return fail(system_error(errno, "cannot take over the socket", path));
  return listener;
}

std::uint64_t inode_of(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 ? facts.st_ino : 0;
}

void unlink_own(const std::string& path, std::uint64_t inode) {
  if (inode != 0 && inode_of(path) == inode) ::unlink(path.c_str());
}

}  // namespace epif::net
