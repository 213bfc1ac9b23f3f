#pragma once
#include <compare>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "net/loop.h"

/// Network devices of this thread's network namespace.
namespace epif::net {

/// A device; one that was replaced under its old name has a new index.
struct Link {
  std::string name;
  unsigned index = 0;
  friend auto operator<=>(const Link&, const Link&) = default;
};

/// All devices but loopback ones, sorted by name. Errors: io.
[[nodiscard]] Result<std::vector<Link>> links();

/// An address for other hosts, and the index of its device.
struct NodeAddress {
  IpAddress address;
  unsigned device = 0;
  bool works = false;  ///< the device is up and has a carrier
  friend auto operator<=>(const NodeAddress&, const NodeAddress&) = default;
};
/// Those of all devices, but loopback and link-local ones. Sorted. Errors: io.
[[nodiscard]] Result<std::vector<NodeAddress>> node_addresses();

/// Calls back on the loop's thread whenever what it watches appeared, vanished, changed or was confirmed (rtnetlink), until its destruction.
class LinkWatch {
 public:
  using OnChange = std::function<void()>;
  enum class Of {
    devices,
    addresses,  ///< and devices
    new_routes,  ///< to other hosts, alone, that appeared or changed; those by which a node delivers to itself are none
  };
  [[nodiscard]] static Result<std::unique_ptr<LinkWatch>> start(Loop& loop, OnChange on_change, Of of = Of::devices);
  ~LinkWatch();
  LinkWatch(const LinkWatch&) = delete;
  LinkWatch& operator=(const LinkWatch&) = delete;

 private:
  struct State;
  explicit LinkWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace epif::net
