#include "store/notifier.h"

namespace epif::store {

void Notifier::announce(Revision revision) {
  {
    const std::scoped_lock lock(mutex_);
    revision_ = std::max(revision_, revision);
  }
  changed_.notify_all();
  // Held while they run: when a Subscription's destructor returns, its callback is over.
  const std::scoped_lock lock(callbacks_->mutex);
  for (auto& [id, callback] : callbacks_->all) callback();
}

Revision Notifier::wait(Revision after, std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return revision_ > after; });
  return revision_;
}

Subscription Notifier::subscribe(std::function<void()> callback) {
  const std::scoped_lock lock(callbacks_->mutex);
  const auto id = ++callbacks_->next;
  callbacks_->all.emplace(id, std::move(callback));
  return Subscription([callbacks = callbacks_, id] {
    const std::scoped_lock inner(callbacks->mutex);
    callbacks->all.erase(id);
  });
}

}  // namespace epif::store
