#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "net/connect_hook.h"
#include "net/handover.h"
#include "net/links.h"
#include "redirect/capture.h"

namespace epif::redirect {

/// Destinations whose connections come here by net::ConnectHook, not by address translation. One is learned from its first
/// connection, which the rules of nftables have brought; so the hook never takes what they would not. Shared by all threads.
class StandIns {
 public:
  /// With the hook. Nothing is learned before follow(). Errors: those of StandInMaps::make() and ConnectHook::attach().
  [[nodiscard]] static Result<std::shared_ptr<StandIns>> start(const net::ConnectHook::Settings& settings, const ExcludedPrograms& excluded,
                                                               std::optional<net::StandInMaps> inherited);
  /// Without it: what a predecessor's hook has led, and leads for a moment more, still finds its destination.
  [[nodiscard]] static std::shared_ptr<StandIns> after(net::StandInMaps inherited);
  /// Takes a predecessor's out of `things`; nothing if it had none.
  [[nodiscard]] static std::optional<net::StandInMaps> take(std::vector<net::Handed>& things);
  /// For a successor. Errors: no_descriptors.
  [[nodiscard]] Result<std::vector<net::Handed>> copies() const;

  /// These programs are left alone from here on. Where that cannot be done no connection is led any more.
  void exclude(const ExcludedPrograms& excluded);
  /// What the rules say from here on. If they changed, all is learned anew.
  void follow(const CaptureRules& rules);
  /// All is learned anew.
  void forget();
  /// The same, if the node's IPv4 addresses are not those of the last time.
  void forget_if_addresses_changed();
  /// A program of this node reached `destination` by the rules. Does nothing where they do not bring IPv4 connections to it here.
  void learn(const SocketAddress& destination);
  /// Learns nothing while another process changes the rules.
  void pause(bool now);
  /// No connection is led any more. Those that were still find their destination.
  void end();
  /// What an accepted connection's own address stands for.
  [[nodiscard]] std::optional<net::StandInMaps::Origin> origin(const SocketAddress& local) const { return maps_.origin(local.ip); }

 private:
  StandIns(net::StandInMaps maps, std::unique_ptr<net::ConnectHook> hook) : maps_(std::move(maps)), hook_(std::move(hook)) {}
  void forget_all();

  net::StandInMaps maps_;
  std::unique_ptr<net::ConnectHook> hook_;  ///< null: none
  std::mutex mutex_;
  std::optional<CaptureRules> rules_;
  std::vector<net::NodeAddress> addresses_;
  bool paused_ = false;
  bool full_ = false;  ///< no stand-in was free: nothing is learned until all is learned anew
};

/// True if the rules bring the node's own TCP connections to `destination` to the redirector, and not to its DNS or to NGINX. Pure.
[[nodiscard]] bool redirects(const CaptureRules& rules, const SocketAddress& destination);

}  // namespace epif::redirect
