#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

/// Versioned resources with watch: the desired state of the control plane (spec), and what was observed (status).
/// A store holds JSON as text and does not look into it; equal text counts as equal content, so callers print canonically.
namespace epif::store {

/// Position in a store's history; the first write makes revision 1. Every changed resource takes one revision of its own.
using Revision = std::uint64_t;

/// One resource as stored. `kind` is written as in documents ("Application"); `name` is the key within its kind,
/// "domain/name" for kinds that live in a domain.
struct Record {
  std::string kind;
  std::string name;
  std::string metadata;          ///< JSON object
  std::string spec;              ///< JSON object
  std::string status;            ///< JSON object, empty until the first status write
  Revision version = 0;          ///< revision of the last write to any part; the token for optimistic concurrency
  std::uint64_t generation = 0;  ///< counts changes of metadata or spec, from 1; a status write leaves it alone
  friend bool operator==(const Record&, const Record&) = default;
};

/// The resources of a kind, sorted by kind then name, and the revision at which that was true: watch on from there.
struct Listing {
  Revision revision = 0;
  std::vector<Record> records;
  std::string store{};  ///< identity of the store, where the API says it (api/store_identity.h)
};

/// One change. For `removed`, `record` is the resource as it was last.
struct Event {
  enum class Type { put, removed };
  Type type = Type::put;
  Revision revision = 0;
  Record record;
};

/// One write of a transaction. `expected`: the version that the resource must have now, 0 meaning "must not exist";
/// without it the write is unconditional.
struct Write {
  enum class Type { put, put_status, remove };
  Type type = Type::put;
  std::string kind;
  std::string name;
  std::string metadata{};  ///< put only
  std::string body{};      ///< spec of put, status of put_status
  std::optional<Revision> expected{};
};

/// A line of the audit log. `hash` = SHA-256 hex of previous hash, newline, time, newline, entry: a changed or missing
/// line breaks the chain from there on.
struct AuditLine {
  std::uint64_t number = 0;  ///< from 1, without gaps
  std::string time;          ///< UTC, "2026-11-22T02:30:00.123Z"
  std::string entry;         ///< JSON object, one line
  std::string hash;
  friend bool operator==(const AuditLine&, const AuditLine&) = default;
};

/// Ends a subscription when destroyed; after that the callback no longer runs.
class Subscription {
 public:
  Subscription() = default;
  explicit Subscription(std::move_only_function<void()> end) : end_(std::move(end)) {}
  Subscription(Subscription&& other) noexcept : end_(std::exchange(other.end_, nullptr)) {}
  Subscription& operator=(Subscription&& other) noexcept {
    if (this == &other) return *this;
    reset();
    end_ = std::exchange(other.end_, nullptr);
    return *this;
  }
  ~Subscription() { reset(); }
  void reset() {
    if (auto end = std::exchange(end_, nullptr)) end();
  }

 private:
  std::move_only_function<void()> end_;
};

/// Thread-safe: any thread may call anything at any time. Calls block (a write until it is on disk); keep them off event
/// loops. When a write call returns success, the change survives a crash.
class Store {
 public:
  virtual ~Store() = default;

  /// not_found if there is none.
  [[nodiscard]] virtual Result<Record> get(std::string_view kind, std::string_view name) = 0;
  /// All of one kind; an empty kind means all kinds, one consistent picture.
  [[nodiscard]] virtual Result<Listing> list(std::string_view kind) = 0;

  /// All writes or none, in order. Returns the store's revision afterwards. A put or put_status that changes nothing makes
  /// no event. Errors: conflict (stale `expected`; names resource and versions), not_found (put_status or remove of a thing
  /// that is not there), io, limit (document too large).
  [[nodiscard]] virtual Result<Revision> commit(std::span<const Write> writes) = 0;

  /// Events with revision > `after`, oldest first, at most `limit`; an empty kind means all. Code::expired: `after` lies
  /// before the kept history, so list again and watch from that listing's revision.
  [[nodiscard]] virtual Result<std::vector<Event>> events(std::string_view kind, Revision after, std::size_t limit) = 0;
  [[nodiscard]] virtual Revision revision() = 0;

  /// Waits until revision() > `after` or `deadline`; returns revision(). Never misses a write: it compares, it does not
  /// count wake-ups.
  [[nodiscard]] virtual Revision wait(Revision after, std::chrono::steady_clock::time_point deadline) = 0;
  /// `callback` runs after each effective commit, on the committing thread, without the store's lock; it must be quick and
  /// must not end its own subscription. It carries no data: read events() from where you are.
  [[nodiscard]] virtual Subscription subscribe(std::function<void()> callback) = 0;

  /// Forgets events up to and including `until`; resources stay. Stores also do so by themselves beyond
  /// limits::store_events_kept.
  [[nodiscard]] virtual Result<> compact(Revision until) = 0;

  /// Appends to the audit log (on disk when it returns) and reads it: lines with number > `after`, at most `limit`.
  [[nodiscard]] virtual Result<AuditLine> append_audit(std::string_view entry) = 0;
  [[nodiscard]] virtual Result<std::vector<AuditLine>> audit(std::uint64_t after, std::size_t limit) = 0;

  // One write each, in words.
  [[nodiscard]] Result<Revision> put(std::string kind, std::string name, std::string metadata, std::string spec,
                                     std::optional<Revision> expected = {});
  [[nodiscard]] Result<Revision> put_status(std::string kind, std::string name, std::string status,
                                            std::optional<Revision> expected = {});
  [[nodiscard]] Result<Revision> remove(std::string kind, std::string name, std::optional<Revision> expected = {});
};

/// Opens or makes the database file (mode 0600; WAL, synchronous=FULL). The folder must exist. Errors name the path and
/// say what is wrong: permission, disk full, not a database, made by a newer program, in use by another process.
[[nodiscard]] Result<std::unique_ptr<Store>> open_sqlite(const std::string& path);
/// The same promises, except that nothing outlives the process. For tests and `--store memory`.
[[nodiscard]] std::unique_ptr<Store> make_memory_store();

/// The number of the first line whose hash does not fit the line before it; 0 if all fit. `before` is the hash of the line
/// before lines[0], empty at the start of the log.
[[nodiscard]] std::uint64_t first_broken_line(std::span<const AuditLine> lines, std::string_view before = {});

}  // namespace epif::store
