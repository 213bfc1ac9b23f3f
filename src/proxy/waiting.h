#pragma once
#include "proxy/counters.h"

namespace epif::proxy {

/// Counts a port of a BIND that waits for its peer, as long as it does.
class Waiting {
 public:
  explicit Waiting(Counters& counters) : counters_(counters) {
    ++counters_.binds;
    ++counters_.binds_waiting;
  }
  ~Waiting() { --counters_.binds_waiting; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  Counters& counters_;
};

}  // namespace epif::proxy
