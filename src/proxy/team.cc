#include "proxy/team.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include "net/datagrams.h"
#include "net/mptcp_endpoints.h"

namespace epif::proxy {
namespace {

constexpr unsigned port_attempts = 16;

/// Collects one snapshot of each worker; resumes its waiter on the asker's loop after the last.
struct Gathering {
  Snapshot sum;
  std::size_t missing = 0;
  std::coroutine_handle<> waiter{};

  void add(Snapshot part) {
    sum.counters += part.counters;
    std::ranges::move(part.flows, std::back_inserter(sum.flows));
    if (--missing == 0 && waiter) waiter.resume();
  }
  // An awaiter of its own: g++ 12 copies an awaitable that is reached through a pointer.
  struct All {
    Gathering& gathering;
    bool await_ready() const noexcept { return gathering.missing == 0; }
    void await_suspend(std::coroutine_handle<> handle) const noexcept { gathering.waiter = handle; }
    void await_resume() const noexcept {}
  };
};

}  // namespace

Result<std::unique_ptr<Team>> Team::make(unsigned threads, Shared& shared, const Certified& certified,
                                         std::shared_ptr<const Routing> routing) {
  std::unique_ptr<Team> team(new Team);
  team->multipath_ = shared.multipath;
  team->turns_ = shared.turns;
  for (unsigned i = 0; i < threads; ++i) {
    auto loop = net::Loop::make();
    if (!loop) return fail(std::move(loop.error()));
    (*loop)->pipes().set_mode(shared.splice);
    auto worker = std::make_unique<Worker>(**loop, shared, certified, routing);
    team->members_.push_back({std::move(*loop), std::move(worker), {}});
  }
  return team;
}

Team::~Team() = default;

Result<SocketAddress> Team::free_port(const SocketAddress& at, Worker::Listener kind) {
  // Listeners that share a port would share it with another proxy's, too: ask for it alone first.
  for (unsigned attempt = 1;; ++attempt) {
    auto alone = net::listen(at, {});
    if (!alone) return fail(std::move(alone.error()));
    const auto chosen = net::local_address(alone->get());
    if (kind != Worker::Listener::clear) return chosen;
    auto datagrams = net::bind_datagrams(chosen, {});
    if (datagrams) return chosen;
    // A port that the kernel chose for TCP may be another program's for UDP.
    if (at.port != 0 || attempt == port_attempts) return fail(std::move(datagrams.error()));
  }
}

Result<> Team::note(Listening::Kind kind, const SocketAddress& at, std::uint16_t index, const Fd& socket) {
  Fd copy(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail(system_error(errno, "cannot copy a listening socket", at.text()));
  copies_.push_back({kind, at, index, std::move(copy)});
  has_datagrams_ = has_datagrams_ || kind == Listening::Kind::datagrams;
  return {};
}

Result<> Team::inherit(std::vector<Listening> sockets) {
  inherited_ = std::move(sockets);
  for (const auto& one : inherited_) {
    const auto there = inherited(one.address, one.kind).size();
    if (there == members_.size()) continue;
    return fail(Code::conflict, fmt::format("the running proxy has {} threads, this one {}", there, members_.size()), one.address.text(),
                "each thread has its own socket", fmt::format("start with --threads {}", there));
  }
  return {};
}

bool Team::inherits(const SocketAddress& at) const {
  return std::ranges::any_of(inherited_, [&](const auto& one) { return one.address == at; });
}

std::vector<Listening*> Team::inherited(const SocketAddress& at, Listening::Kind kind) {
  std::vector<Listening*> found;
  for (auto& one : inherited_) {
    if (one.kind == kind && one.address == at && one.socket) found.push_back(&one);
  }
  std::ranges::sort(found, {}, &Listening::index);
  return found;
}

Result<> Team::listen_inherited(const SocketAddress& at, Worker::Listener kind, Dialect dialect) {
  const bool clear = kind == Worker::Listener::clear;
  const auto streams = inherited(at, clear ? Listening::Kind::clear : Listening::Kind::tls);
  const auto datagrams = inherited(at, Listening::Kind::datagrams);
  if (streams.size() != members_.size() || (clear && datagrams.size() != members_.size())) {
    return fail(Code::conflict, "the running proxy serves this address in another way", at.text(), {}, "start without --take-over");
  }
  for (const auto* stream : streams) {
    const bool speaks = net::speaks_multipath(stream->socket.get());
    if (speaks == multipath_ || (multipath_ && !net::has_mptcp())) continue;
    return fail(Code::conflict, fmt::format("the running proxy {} MPTCP, this one {}", speaks ? "speaks" : "does not speak", speaks ? "does not" : "does"),
                at.text(), "a listening socket keeps its protocol", speaks ? "start with --mptcp" : "start without --mptcp, or without --take-over");
  }
  for (std::uint16_t index = 0; index < members_.size(); ++index) {
    if (clear) {
      auto noted = note(Listening::Kind::datagrams, at, index, datagrams[index]->socket);
      if (!noted) return fail(std::move(noted.error()));
      // As below. Besides, the predecessor reads them until it is told, and what waits then may be for its associations.
      members_[index].unheard.push_back([worker = members_[index].worker.get(), socket = std::move(datagrams[index]->socket), index,
                                         sharing = static_cast<std::uint16_t>(members_.size())]() mutable {
        worker->listen_datagrams(std::move(socket), index, sharing);
      });
    }
    auto noted = note(clear ? Listening::Kind::clear : Listening::Kind::tls, at, index, streams[index]->socket);
    if (!noted) return fail(std::move(noted.error()));
    // Once its thread runs: clients may stand in the queue already, and whoever is served must meet what the predecessor tells.
    auto socket = std::make_shared<Fd>(std::move(streams[index]->socket));
    members_[index].unheard.push_back([worker = members_[index].worker.get(), socket, kind, dialect] {
      worker->listen(std::move(*socket), kind, dialect);
    });
  }
  return {};
}

Result<SocketAddress> Team::listen(const SocketAddress& at, Worker::Listener kind, Dialect dialect) {
  if (inherits(at)) {
    auto taken = listen_inherited(at, kind, dialect);
    if (!taken) return fail(std::move(taken.error()));
    return at;
  }
  auto port = free_port(at, kind);
  if (!port) return port;
  const SocketAddress chosen = *port;
  if (kind == Worker::Listener::clear) {
    auto datagrams = listen_datagrams(chosen);
    if (!datagrams) return fail(std::move(datagrams.error()));
  }
  net::ListenOptions options;
  options.reuse_port = members_.size() > 1;
  options.fast_open = true;
  options.multipath = multipath_;
  std::uint16_t index = 0;
  for (auto& member : members_) {
    auto listener = net::listen(chosen, options);
    if (!listener) return fail(std::move(listener.error()));
    auto noted = note(kind == Worker::Listener::clear ? Listening::Kind::clear : Listening::Kind::tls, chosen, index++, *listener);
    if (!noted) return fail(std::move(noted.error()));
    // Accepted sockets inherit it: if this process is killed, its clients see a reset and not an end.
    if (kind == Worker::Listener::clear) net::reset_on_close(listener->get(), true);
    member.worker->listen(std::move(*listener), kind, dialect);
  }
  return chosen;
}

Result<> Team::listen_datagrams(const SocketAddress& at) {
  const net::DatagramOptions options{.reuse_port = members_.size() > 1, .local_address = at.ip.is_any()};
  const auto sharing = static_cast<std::uint16_t>(members_.size());
  for (std::uint16_t index = 0; index < sharing; ++index) {
    auto socket = net::bind_datagrams(at, options);
    if (!socket) return fail(std::move(socket.error()));
    // The number of an association stands behind version, type and length, and tells its thread.
    if (index + 1 == sharing && sharing > 1) {
      auto steered = net::steer_by_number(socket->get(), 4, sharing);
      if (!steered) return steered;
    }
    auto noted = note(Listening::Kind::datagrams, at, index, *socket);
    if (!noted) return noted;
    members_[index].worker->listen_datagrams(std::move(*socket), index, sharing);
  }
  return {};
}

void Team::hear_inherited() {
  inherited_.clear();  // what was not asked for
  for (auto& member : members_) {
    for (auto& hear : std::exchange(member.unheard, {})) member.loop->post(std::move(hear));
  }
}

void Team::start() {
  for (auto& member : members_) {
    member.thread = std::thread([loop = member.loop.get(), turns = turns_] {
      net::take_turns(turns);
      loop->run();
    });
  }
}

void Team::stop() {
  for (auto& member : members_) member.loop->stop();
  for (auto& member : members_) {
    if (member.thread.joinable()) member.thread.join();
  }
}

void Team::adopt(const std::shared_ptr<const Routing>& routing) {
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get(), routing] { worker->adopt(routing); });
  }
}

void Team::renew(const Certified& certified) {
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get(), certified] { worker->renew(certified); });
  }
}

void Team::renew_ready() {
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get()] { worker->renew_ready(); });
  }
}

void Team::stop_accepting() {
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get()] { worker->stop_accepting(); });
  }
}

void Team::hand_over(net::Loop& control, std::function<void(MovedFlows moved)> give) {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto pass = [&control, give, thread = static_cast<std::uint16_t>(i)](MovedFlows moved) {
      moved.thread = thread;
      control.post([give, moved = std::make_shared<MovedFlows>(std::move(moved))] { give(std::move(*moved)); });
    };
    members_[i].loop->post([worker = members_[i].worker.get(), pass] { worker->hand_over(pass); });
  }
}

Result<std::vector<Fd>> Team::hear_datagrams() {
  std::vector<Fd> given;
  if (!has_datagrams_) return given;
  for (auto& member : members_) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
      return fail(system_error(errno, "cannot make a channel for datagrams"));
    }
    given.emplace_back(ends[0]);
    member.loop->post([worker = member.worker.get(), mine = Fd(ends[1])]() mutable { worker->hear_datagrams(std::move(mine)); });
  }
  return given;
}

void Team::let_go_of_datagrams() {
  if (!has_datagrams_) return;
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get()] { worker->let_go_of_datagrams(); });
  }
}

Result<> Team::pass_datagrams(std::size_t thread, Fd predecessor) {
  if (thread >= members_.size() || !predecessor) {
    return fail(Code::protocol, "a channel came for a thread that is not there", std::to_string(thread));
  }
  if (!has_datagrams_) return {};  // at the channel's end the old process lets go of a port that this one does not hear
  auto& member = members_[thread];
  // Before it reads its ports, if it can be.
  if (!member.thread.joinable()) {
    member.worker->pass_datagrams(std::move(predecessor));
    return {};
  }
  member.loop->post([worker = member.worker.get(), there = std::move(predecessor)]() mutable { worker->pass_datagrams(std::move(there)); });
  return {};
}

Result<> Team::take(MovedFlows moved) {
  if (moved.thread >= members_.size()) return fail(Code::protocol, "flows came for a thread that is not there", std::to_string(moved.thread));
  auto& member = members_[moved.thread];
  member.loop->post([worker = member.worker.get(), flows = std::make_shared<MovedFlows>(std::move(moved))] { worker->take(std::move(*flows)); });
  return {};
}

void Team::keep_flows() {
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get()] { worker->keep_flows(); });
  }
}

void Team::cut_staying(const Error& why) {
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get(), why] { worker->cut_staying(why); });
  }
}

void Team::cut_all(const Error& why) {
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get(), why] { worker->cut_all(why); });
  }
}

net::Task<Snapshot> Team::gather(net::Loop& asker) {
  auto gathering = std::make_shared<Gathering>();
  gathering->missing = members_.size();
  for (auto& member : members_) {
    member.loop->post([worker = member.worker.get(), gathering, &asker] {
      asker.post([gathering, part = std::make_shared<Snapshot>(worker->snapshot())] { gathering->add(std::move(*part)); });
    });
  }
  co_await Gathering::All{*gathering};
  co_return std::move(gathering->sum);
}

}  // namespace epif::proxy
