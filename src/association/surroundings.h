#pragma once
#include <cstdint>
#include <string>

#include "model/routing.h"
#include "net/warm_pool.h"

namespace epif::association {

/// What the associations of one thread need of whoever runs them. Called on their loop; outlives them.
class Surroundings {
 public:
  virtual ~Surroundings() = default;

  /// As they are now.
  [[nodiscard]] virtual const Routing& routing() const = 0;
  /// Where everything is allowed (--allow-all) the route that all datagrams take, without a look at routing(); otherwise null.
  [[nodiscard]] virtual RoutePtr route_for_all() const = 0;

  /// True if there is a certificate to show to a next proxy.
  [[nodiscard]] virtual bool certified() const = 0;
  [[nodiscard]] virtual net::WarmPool& pool_to(const NextHop& next) = 0;

  // For counts and reports.
  virtual void route_taken(const std::string& route) = 0;
  virtual void route_carried(const std::string& route, std::uint64_t to_server, std::uint64_t to_client) = 0;
  virtual void destination_refused(const std::string& client, const Destination& destination, const Error& why) = 0;
  virtual void destination_cut(Code why) = 0;
};

}  // namespace epif::association
