#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "net/links.h"
#include "net/mptcp_endpoints.h"

namespace epif::net {

/// Lets MPTCP connections of this network namespace use all of the node's addresses: keeps the kernel's endpoints in step with
/// the addresses of devices that are up. One that goes down is taken out, so that its connections go on over the others at
/// once; one that is back is put in again, and running connections use it again.
///
/// Whoever has set endpoints himself (ip mptcp endpoint) knows better: then nothing is changed but the limits. Ours are known by their ids, so that
/// those of a killed process are found again.
class MptcpPaths {
 public:
  enum class End : std::uint8_t {
    connects = 224,  ///< opens subflows from each address. The number is the first of its eight ids
    listens = 232,   ///< tells the peer of each address
  };
  /// A node without MPTCP or without the right to change it is told of in the log, and the rest goes on without further paths.
  MptcpPaths(Loop& loop, End end);
  /// Removes what it added, and sets the limits back.
  ~MptcpPaths();
  MptcpPaths(const MptcpPaths&) = delete;
  MptcpPaths& operator=(const MptcpPaths&) = delete;

  /// A successor goes on with the endpoints: the end removes nothing.
  void leave() { left_ = true; }
  /// After a start that failed behind leave()'s back: what was added is ours to remove again.
  void stay() { left_ = false; }

 private:
  void follow();
  [[nodiscard]] Result<> raise_limits();
  [[nodiscard]] Result<> adjust();
  [[nodiscard]] bool is_ours(const MptcpEndpoint& endpoint) const;

  End end_;
  std::unique_ptr<LinkWatch> watch_;
  std::optional<MptcpLimits> limits_before_;
  bool foreign_ = false;  ///< others have set endpoints
  bool told_ = false;     ///< of trouble
  bool left_ = false;
};

/// Removes the endpoints that a killed process of this kind has left. There or not.
void remove_mptcp_paths(MptcpPaths::End end);

}  // namespace epif::net
