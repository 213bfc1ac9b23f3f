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
  /// Binds and starts. Errors: address_in_use, no_descriptors, io.
  [[nodiscard]] static Result<std::unique_ptr<Redirector>> start(Settings settings, std::shared_ptr<const Routes> routes);
  /// Cuts all flows (the peers see resets), ends the threads.
  ~Redirector();
  Redirector(const Redirector&) = delete;
  Redirector& operator=(const Redirector&) = delete;

  /// When this returns, every thread follows `routes` and has cut what lost its permit.
  void apply(std::shared_ptr<const Routes> routes);
  /// When this returns, every thread uses the renewed certificate.
  void renew(const std::shared_ptr<net::TlsContext>& tls);
  /// Any thread but the workers'.
  [[nodiscard]] Stats stats(bool with_flows);

 private:
  struct Thread {
    std::unique_ptr<net::Loop> loop;
    std::unique_ptr<Worker> worker;  ///< made and destroyed on its thread
    std::thread thread;
  };
  explicit Redirector(Settings settings) : settings_(std::move(settings)) {}
  [[nodiscard]] Result<> add_thread(std::shared_ptr<const Routes> routes);
  /// Runs on every worker's thread; returns when all have.
  void on_all(const std::function<void(Thread&)>& action);

  Settings settings_;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace epif::redirect
