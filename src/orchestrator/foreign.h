#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "model/resource.h"

/// What a domain's redirectors refuse where no application was granted a flow: the addresses of all other domains' nodes.
namespace epif::orchestrator {

struct ForeignBlock {
  Cidr block;
  std::string node;    ///< "domain/node" if all of the block is one node's; else empty
  std::string domain;  ///< if all of it is of one domain; else empty
};

/// The nodes' addresses of one moment.
class Addresses {
 public:
  explicit Addresses(const ResourceSet& resources);

  /// As few blocks as cover all nodes outside of `domain`, and no other address: a redirector captures them. Neighbouring
  /// addresses make one block, so that the tables of N nodes in subnets do not grow with N x N. Sorted.
  [[nodiscard]] std::vector<ForeignBlock> outside(std::string_view domain) const;

 private:
  struct One {
    IpAddress address;
    const std::string* node;
    const std::string* domain;
  };
  std::vector<One> sorted_;
};

}  // namespace epif::orchestrator
