#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "store/store.h"

namespace epif::store {

/// Tells waiters and subscribers that the revision grew. Thread-safe; never called under a store's lock.
class Notifier {
 public:
  void announce(Revision revision);
  [[nodiscard]] Revision wait(Revision after, std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] Subscription subscribe(std::function<void()> callback);

 private:
  struct Callbacks {
    std::mutex mutex;
    std::uint64_t next = 0;
    std::map<std::uint64_t, std::function<void()>> all;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  Revision revision_ = 0;
  // Shared with subscriptions, so that one which outlives the store ends harmlessly.
  std::shared_ptr<Callbacks> callbacks_ = std::make_shared<Callbacks>();
};

}  // namespace epif::store
