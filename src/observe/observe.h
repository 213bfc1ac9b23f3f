#pragma once
#include <chrono>
#include <stop_token>
#include <string>

#include "base/error.h"

namespace epif::observe {

struct ObserveWish {
  std::chrono::seconds duration{0};  ///< 0: until asked to stop
};

/// Watches what this network namespace talks to over its devices (not over loopback), and gives the draft documents. Captures
/// nothing and changes no rule: a packet socket sees every connection, however short. Errors: permission, io.
[[nodiscard]] Result<std::string> observe(const ObserveWish& wish, const std::stop_token& stop);

}  // namespace epif::observe
