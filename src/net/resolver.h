#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "net/loop.h"
#include "net/task.h"

namespace epif::net {

/// Host names to addresses by the system's resolver, on threads of its own so that no loop waits. Thread-safe; outlives
/// the loops that ask.
class Resolver {
 public:
  explicit Resolver(unsigned threads = 2);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// Addresses in the system's order of preference, at least one. Errors: host_unreachable (unknown name), limit (too many
  /// questions waiting).
  [[nodiscard]] Task<Result<std::vector<IpAddress>>> resolve(Loop& loop, std::string name);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace epif::net
