#include <deque>
#include <map>
#include <mutex>

#include "base/limits.h"
#include "store/audit.h"
#include "store/change.h"
#include "store/notifier.h"
#include "store/store.h"

namespace epif::store {
namespace {

using Key = std::pair<std::string, std::string>;

class MemoryStore final : public Store {
 public:
  Result<Record> get(std::string_view kind, std::string_view name) override {
    const std::scoped_lock lock(mutex_);
    const auto found = records_.find(Key(kind, name));
    if (found == records_.end()) return fail(Code::not_found, "does not exist", std::string(kind) + " " + std::string(name));
    return found->second;
  }

  Result<Listing> list(std::string_view kind) override {
    const std::scoped_lock lock(mutex_);
    Listing listing{.revision = revision_, .records = {}};
    for (const auto& [key, record] : records_) {
      if (kind.empty() || key.first == kind) listing.records.push_back(record);
    }
    return listing;
  }

  Result<Revision> commit(std::span<const Write> writes) override {
    Revision before = 0;
    Revision after = 0;
    {
      const std::scoped_lock lock(mutex_);
      before = revision_;
      auto events = stage(writes);
      if (!events) return fail(std::move(events.error()));
      for (auto& event : *events) apply(std::move(event));
      after = revision_;
    }
    if (after > before) notifier_.announce(after);
    return after;
  }

  Result<std::vector<Event>> events(std::string_view kind, Revision after, std::size_t limit) override {
    const std::scoped_lock lock(mutex_);
    if (after < compacted_) return fail(too_old(after, compacted_));
    std::vector<Event> found;
    const auto first = std::ranges::upper_bound(events_, after, {}, &Event::revision);
    for (auto event = first; event != events_.end() && found.size() < limit; ++event) {
      if (kind.empty() || event->record.kind == kind) found.push_back(*event);
    }
    return found;
  }

  Revision revision() override {
    const std::scoped_lock lock(mutex_);
    return revision_;
  }

  Revision wait(Revision after, std::chrono::steady_clock::time_point deadline) override {
    return notifier_.wait(after, deadline);
  }
  Subscription subscribe(std::function<void()> callback) override { return notifier_.subscribe(std::move(callback)); }

  Result<> compact(Revision until) override {
    const std::scoped_lock lock(mutex_);
    compacted_ = std::max(compacted_, std::min(until, revision_));
    while (!events_.empty() && events_.front().revision <= compacted_) events_.pop_front();
    return {};
  }

  Result<AuditLine> append_audit(std::string_view entry) override {
    const std::scoped_lock lock(mutex_);
    audit_.push_back(next_line(audit_.empty() ? AuditLine{} : audit_.back(), utc_now(), entry));
    return audit_.back();
  }

  Result<std::vector<AuditLine>> audit(std::uint64_t after, std::size_t limit) override {
    const std::scoped_lock lock(mutex_);
    std::vector<AuditLine> lines;
    for (auto at = after; at < audit_.size() && lines.size() < limit; ++at) lines.push_back(audit_[at]);
    return lines;
  }

 private:
  /// Works the writes out against the records and each other, without touching anything.
  Result<std::vector<Event>> stage(std::span<const Write> writes) {
    std::map<Key, std::optional<Record>> staged;
    std::vector<Event> events;
    for (const auto& write : writes) {
      const Key key(write.kind, write.name);
      auto at = staged.find(key);
      if (at == staged.end()) {
        const auto stored = records_.find(key);
        at = staged.emplace(key, stored == records_.end() ? std::nullopt : std::optional(stored->second)).first;
      }
      auto event = change(write, at->second, revision_ + events.size() + 1);
      if (!event) return fail(std::move(event.error()));
      if (!*event) continue;
      at->second = (*event)->type == Event::Type::put ? std::optional((*event)->record) : std::nullopt;
      events.push_back(std::move(**event));
    }
    return events;
  }

  void apply(Event event) {
    revision_ = event.revision;
    const Key key(event.record.kind, event.record.name);
    if (event.type == Event::Type::put) {
      records_[key] = event.record;
    } else {
      records_.erase(key);
    }
    events_.push_back(std::move(event));
    if (events_.size() <= limits::store_events_kept) return;
    compacted_ = events_.front().revision;
    events_.pop_front();
  }

  std::mutex mutex_;
  std::map<Key, Record> records_;
  std::deque<Event> events_;
  std::vector<AuditLine> audit_;
  Revision revision_ = 0;
  Revision compacted_ = 0;
  Notifier notifier_;
};

}  // namespace

std::unique_ptr<Store> make_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace epif::store
