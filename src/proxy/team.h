#pragma once
#include <memory>
#include <thread>
#include <vector>

#include "proxy/listening.h"
#include "proxy/worker.h"

namespace epif::proxy {

/// The workers, one thread and loop each. Made and asked on the control thread.
class Team {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Team>> make(unsigned threads, Shared& shared, const Certified& certified,
                                                          std::shared_ptr<const Routing> routing);
  ~Team();  ///< stop() must have been called if start() was
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// Opens one listener a worker on `at`, and if it is in clear the UDP port of the same number. An address that another program holds is an error, even if both would share it.
  /// Returns the address with its port, if 0 was asked. Before start().
  [[nodiscard]] Result<SocketAddress> listen(const SocketAddress& at, Worker::Listener kind, Dialect dialect);
  /// Sockets of a predecessor, to be used by listen() in place of new ones. Before listen(). Errors: conflict (another number
  /// of threads: each has its own socket).
  [[nodiscard]] Result<> inherit(std::vector<Listening> sockets);
  [[nodiscard]] bool inherits(const SocketAddress& at) const;
  /// Copies of all sockets that listen() opened, for a successor. Once.
  [[nodiscard]] std::vector<Listening> take_copies() { return std::move(copies_); }
  /// Inherited sockets are heard on from here on, once the threads run. Never, if the predecessor goes on: it reads them.
  void hear_inherited();
  void start();
  void stop();  ///< ends the loops and joins the threads; flows must have ended

  void adopt(const std::shared_ptr<const Routing>& routing);
  void renew(const Certified& certified);
  /// Ready connections to next proxies are made anew: the node's links, addresses or routes have changed.
  void renew_ready();
  void stop_accepting();
  /// `give` is called on `control`'s thread.
  void hand_over(net::Loop& control, std::function<void(MovedFlows moved)> give);
  /// Each thread hears from now on what a successor passes on to its associations. Gives the successor's ends, by thread; none if there
  /// is no UDP port. Errors: no_descriptors.
  [[nodiscard]] Result<std::vector<Fd>> hear_datagrams();
  /// After hand_over(): no successor is going to pass anything on.
  void let_go_of_datagrams();
  /// What finds no association in this thread is passed on to the predecessor's. Errors: protocol (there is no such thread).
  [[nodiscard]] Result<> pass_datagrams(std::size_t thread, Fd predecessor);
  /// Flows of a predecessor's thread go on in the one of the same number. Errors: protocol (there is none).
  [[nodiscard]] Result<> take(MovedFlows moved);
  /// Nothing leaves any more: there is no successor.
  void keep_flows();
  void cut_staying(const Error& why);
  void cut_all(const Error& why);

  /// The sum of all workers' snapshots, for `asker`'s loop.
  [[nodiscard]] net::Task<Snapshot> gather(net::Loop& asker);

 private:
  Team() = default;
  /// `at` with a port that nobody else has, for UDP, too, if the listener is in clear.
  [[nodiscard]] static Result<SocketAddress> free_port(const SocketAddress& at, Worker::Listener kind);
  /// The UDP port of SOCKS6 associations, beside a listener in clear.
  [[nodiscard]] Result<> listen_datagrams(const SocketAddress& at);
  /// Waits for clients on the predecessor's sockets: from here on connections arrive.
  [[nodiscard]] Result<> listen_inherited(const SocketAddress& at, Worker::Listener kind, Dialect dialect);
  [[nodiscard]] std::vector<Listening*> inherited(const SocketAddress& at, Listening::Kind kind);
  /// Notes a copy for a successor.
  [[nodiscard]] Result<> note(Listening::Kind kind, const SocketAddress& at, std::uint16_t index, const Fd& socket);
  struct Member {
    std::unique_ptr<net::Loop> loop;
    std::unique_ptr<Worker> worker;
    std::thread thread;
    std::vector<net::Loop::Callback> unheard{};  ///< each takes up an inherited socket
  };
  std::vector<Member> members_;
  bool multipath_ = false;
  net::Turns turns_ = net::Turns::batch;
  std::vector<Listening> inherited_;
  std::vector<Listening> copies_;
  bool has_datagrams_ = false;  ///< there is a UDP port
};

}  // namespace epif::proxy
