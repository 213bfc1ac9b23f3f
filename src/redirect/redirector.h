#pragma once
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "redirect/worker.h"

namespace epif::redirect {

/// Worker threads that accept captured connections on 127.0.0.1 and ::1 and carry them. Knows nothing of rules: those are
/// InstalledCapture's.
class Redirector {
 public:
  /// Binds and starts. With the sockets of a predecessor, those of each thread, nothing is bound, and nothing heard before hear().
  /// Errors: address_in_use, no_descriptors, io.
  [[nodiscard]] static Result<std::unique_ptr<Redirector>> start(Settings settings, std::shared_ptr<const Routes> routes,
                                                                 std::vector<Sockets> inherited = {});
  /// Cuts all flows (the peers see resets), ends the threads.
  ~Redirector();
  Redirector(const Redirector&) = delete;
  Redirector& operator=(const Redirector&) = delete;

  /// On the sockets of a predecessor; not if they were handed over meanwhile.
  void hear();
  /// When this returns, every thread follows `routes` and has cut what lost its permit.
  void apply(std::shared_ptr<const Routes> routes);
  /// When this returns, every thread uses the renewed certificate.
  void renew(const std::shared_ptr<net::TlsContext>& tls);
  /// Ready connections to proxies are made anew: the node's links, addresses or routes have changed.
  void renew_ready();
  /// Copies of all sockets, for a successor. Once.
  [[nodiscard]] std::vector<net::Handed> take_copies() { return std::move(copies_); }
  /// When this returns, no thread takes anything new.
  void hand_over();
  /// True if nothing is carried.
  [[nodiscard]] bool idle();
  /// Any thread but the workers'.
  [[nodiscard]] Stats stats(bool with_flows);

 private:
  struct Thread {
    std::unique_ptr<net::Loop> loop;
    std::unique_ptr<Worker> worker;  ///< made and destroyed on its thread
    Sockets unheard{};               ///< a predecessor's, on its thread
    std::thread thread;
  };
  explicit Redirector(Settings settings) : settings_(std::move(settings)) {}
  [[nodiscard]] Result<> add_thread(std::shared_ptr<const Routes> routes, Sockets sockets, bool hears);
  /// Runs on every worker's thread; returns when all have.
  void on_all(const std::function<void(Thread&)>& action);

  Settings settings_;
  std::vector<net::Handed> copies_;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace epif::redirect
