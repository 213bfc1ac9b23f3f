#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/links.h"
#include "net/mptcp_endpoints.h"

namespace epif::net {

/// Lets MPTCP connections of this network namespace use all of the node's addresses: keeps the kernel's endpoints in step with
/// them. An address is added once its device is up with a carrier, and taken out when the node has it no more. A path over a device
/// that is down stays: the kernel leaves it aside, and takes it again when packets come through.
///
/// Whoever has set endpoints himself (ip mptcp endpoint) knows better: then nothing is changed but the limits. What is ours is
/// noted in a file, so that a killed process's is found again.
class MptcpPaths {
 public:
  enum class End {
    connects,  ///< opens further subflows from each address
    listens,   ///< tells the peer of each address
  };
  /// `state_file`: empty for none; its folder is made if absent. A node without MPTCP, or without the right to change it, is told of in
  /// the log, and the rest goes on without further paths. `on_new` is called, on the loop's thread, whenever an address of the node, its
  /// device or a route has come or come back: connections that were made before may lack a path, or have two over one link. What goes is
  /// not told: connections that stand may have another path, where new ones find none.
  MptcpPaths(Loop& loop, End end, std::string state_file, std::function<void()> on_new = {});
  /// Removes what it added, and sets the limits back.
  ~MptcpPaths();
  MptcpPaths(const MptcpPaths&) = delete;
  MptcpPaths& operator=(const MptcpPaths&) = delete;

  /// A successor goes on with the endpoints, or a predecessor: the end removes nothing.
  void leave() { left_ = true; }
  /// They are this process's alone.
  void stay() { left_ = false; }

  /// What is ours in the kernel.
  struct Noted {
    std::vector<MptcpEndpoint> endpoints{};
    std::optional<MptcpLimits> limits_before{};
  };

 private:
  void follow();
  void watch(Loop& loop);
  [[nodiscard]] Result<> raise_limits();
  [[nodiscard]] Result<> adjust();
  [[nodiscard]] Result<> add(const NodeAddress& address);
  void note() const;

  End end_;
  std::string state_file_;
  Noted ours_;
  std::vector<NodeAddress> addresses_;  ///< at the last look
  std::function<void()> on_new_;
  std::unique_ptr<LinkWatch> watch_;
  std::unique_ptr<LinkWatch> route_watch_;
  bool foreign_ = false;  ///< others have set endpoints
  bool told_ = false;     ///< of trouble
  bool left_ = false;
};

/// Removes what a killed process has noted in this file. There or not.
void remove_mptcp_paths(const std::string& state_file);

}  // namespace epif::net
