#include <fmt/format.h>

#include <mutex>

#include "base/limits.h"
#include "store/audit.h"
#include "store/change.h"
#include "store/notifier.h"
#include "store/sqlite_database.h"
#include "store/store.h"

namespace epif::store {
namespace {

constexpr std::uint64_t schema_version = 1;
// History is cut in strides, so that most commits do not pay for it.
constexpr Revision compaction_stride = 1'000;

constexpr const char* schema = R"sql(
  BEGIN IMMEDIATE;
  CREATE TABLE IF NOT EXISTS resources(kind TEXT NOT NULL, name TEXT NOT NULL, metadata TEXT NOT NULL, spec TEXT NOT NULL,
    status TEXT NOT NULL, version INTEGER NOT NULL, generation INTEGER NOT NULL, PRIMARY KEY(kind, name)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS events(revision INTEGER PRIMARY KEY, type INTEGER NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, metadata TEXT NOT NULL, spec TEXT NOT NULL, status TEXT NOT NULL, version INTEGER NOT NULL,
    generation INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS audit(number INTEGER PRIMARY KEY, time TEXT NOT NULL, entry TEXT NOT NULL, hash TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS state(revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
  INSERT INTO state SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM state);
  PRAGMA user_version = 1;
  COMMIT;
)sql";

Record read_record(const Statement& row, int first) {
  return {.kind = row.text(first),
          .name = row.text(first + 1),
          .metadata = row.text(first + 2),
          .spec = row.text(first + 3),
          .status = row.text(first + 4),
          .version = row.number(first + 5),
          .generation = row.number(first + 6)};
}

void bind_record(Statement& statement, const Record& record) {
  statement.bind(record.kind).bind(record.name).bind(record.metadata).bind(record.spec).bind(record.status);
  statement.bind(record.version).bind(record.generation);
}

/// Every statement the store runs, prepared once.
struct Statements {
  Statement get, list, list_all, put, remove, add_event, events, events_all, set_state, drop_events, last_audit, add_audit, audit;

  [[nodiscard]] Result<> prepare(const Database& database);
};

Result<> Statements::prepare(const Database& database) {
  const std::pair<Statement*, std::string_view> all[] = {
      {&get, "SELECT * FROM resources WHERE kind = ? AND name = ?"},
      {&list, "SELECT * FROM resources WHERE kind = ? ORDER BY name"},
      {&list_all, "SELECT * FROM resources ORDER BY kind, name"},
      {&put, "INSERT OR REPLACE INTO resources VALUES(?, ?, ?, ?, ?, ?, ?)"},
      {&remove, "DELETE FROM resources WHERE kind = ? AND name = ?"},
      {&add_event, "INSERT INTO events(kind, name, metadata, spec, status, version, generation, revision, type) "
                   "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"},
      {&events, "SELECT * FROM events WHERE revision > ? AND kind = ? ORDER BY revision LIMIT ?"},
      {&events_all, "SELECT * FROM events WHERE revision > ? ORDER BY revision LIMIT ?"},
      {&set_state, "UPDATE state SET revision = ?, compacted = ?"},
      {&drop_events, "DELETE FROM events WHERE revision <= ?"},
      {&last_audit, "SELECT * FROM audit ORDER BY number DESC LIMIT 1"},
      {&add_audit, "INSERT INTO audit VALUES(?, ?, ?, ?)"},
      {&audit, "SELECT * FROM audit WHERE number > ? ORDER BY number LIMIT ?"},
  };
  for (const auto& [statement, sql] : all) {
    auto prepared = database.prepare(sql);
    if (!prepared) return fail(std::move(prepared.error()));
    *statement = std::move(*prepared);
  }
  return {};
}

AuditLine read_line(const Statement& row) { return {row.number(0), row.text(1), row.text(2), row.text(3)}; }

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(Database database) : database_(std::move(database)) {}

  [[nodiscard]] Result<> load();

  Result<Record> get(std::string_view kind, std::string_view name) override {
    const std::scoped_lock lock(mutex_);
    auto record = find(kind, name);
    if (!record) return fail(std::move(record.error()));
    if (!*record) return fail(Code::not_found, "does not exist", fmt::format("{} {}", kind, name));
    return std::move(**record);
  }

  Result<Listing> list(std::string_view kind) override;
  Result<Revision> commit(std::span<const Write> writes) override;
  Result<std::vector<Event>> events(std::string_view kind, Revision after, std::size_t limit) override;

  Revision revision() override {
    const std::scoped_lock lock(mutex_);
    return revision_;
  }
  Revision wait(Revision after, std::chrono::steady_clock::time_point deadline) override {
    return notifier_.wait(after, deadline);
  }
  Subscription subscribe(std::function<void()> callback) override { return notifier_.subscribe(std::move(callback)); }

  Result<> compact(Revision until) override;
  Result<AuditLine> append_audit(std::string_view entry) override;
  Result<std::vector<AuditLine>> audit(std::uint64_t after, std::size_t limit) override;

 private:
  [[nodiscard]] Result<std::optional<Record>> find(std::string_view kind, std::string_view name);
  [[nodiscard]] Result<Revision> write_all(std::span<const Write> writes);
  [[nodiscard]] Result<> write_event(const Event& event);
  [[nodiscard]] Result<> write_state(Revision revision, Revision compacted);
  /// Runs `body` between BEGIN and COMMIT; anything that fails on the way rolls all of it back.
  template <class Body>
  [[nodiscard]] Result<> transaction(Body&& body);

  std::mutex mutex_;
  Database database_;
  Statements run_;  // after database_: statements go before their connection
  Revision revision_ = 0;
  Revision compacted_ = 0;
  Notifier notifier_;
};

Result<> SqliteStore::load() {
  auto version = database_.prepare("PRAGMA user_version");
  if (!version) return fail(std::move(version.error()));
  auto row = version->step();
  if (!row) return fail(std::move(row.error()));
  if (const auto found = version->number(0); found > schema_version) {
    return fail(Code::unsupported, "the store was written by a newer epif", database_.path(),
                fmt::format("its schema is {}, this program knows {}", found, schema_version), "use the newer program");
  }
  version->reset();
  if (auto made = database_.execute(schema); !made) return fail(std::move(made.error()));
  if (auto prepared = run_.prepare(database_); !prepared) return fail(std::move(prepared.error()));
  auto state = database_.prepare("SELECT revision, compacted FROM state");
  if (!state) return fail(std::move(state.error()));
  if (row = state->step(); !row) return fail(std::move(row.error()));
  revision_ = state->number(0);
  compacted_ = state->number(1);
  notifier_.announce(revision_);
  return {};
}

template <class Body>
Result<> SqliteStore::transaction(Body&& body) {
  if (auto begun = database_.execute("BEGIN IMMEDIATE"); !begun) return begun;
  Result<> done = body();
  if (done) done = database_.execute("COMMIT");
  // A full disk may have ended the transaction already; then ROLLBACK has nothing to do, and its error says nothing.
  if (!done) static_cast<void>(database_.execute("ROLLBACK"));
  return done;
}

Result<std::optional<Record>> SqliteStore::find(std::string_view kind, std::string_view name) {
  auto& row = run_.get.reset().bind(kind).bind(name);
  auto found = row.step();
  if (!found) return fail(std::move(found.error()));
  std::optional<Record> record;
  if (*found) record = read_record(row, 0);
  row.reset();
  return record;
}

Result<Listing> SqliteStore::list(std::string_view kind) {
  const std::scoped_lock lock(mutex_);
  auto& row = kind.empty() ? run_.list_all.reset() : run_.list.reset().bind(kind);
  Listing listing{.revision = revision_, .records = {}};
  for (;;) {
    auto found = row.step();
    if (!found) return fail(std::move(found.error()));
    if (!*found) break;
    listing.records.push_back(read_record(row, 0));
  }
  row.reset();
  return listing;
}

Result<> SqliteStore::write_event(const Event& event) {
  const auto& record = event.record;
  if (event.type == Event::Type::put) {
    bind_record(run_.put.reset(), record);
    if (auto done = run_.put.run(); !done) return done;
  } else if (auto done = run_.remove.reset().bind(record.kind).bind(record.name).run(); !done) {
    return done;
  }
  bind_record(run_.add_event.reset(), record);
  return run_.add_event.bind(event.revision).bind(std::uint64_t{event.type == Event::Type::removed}).run();
}

Result<> SqliteStore::write_state(Revision revision, Revision compacted) {
  if (compacted > compacted_) {
    if (auto done = run_.drop_events.reset().bind(compacted).run(); !done) return done;
  }
  return run_.set_state.reset().bind(revision).bind(compacted).run();
}

Result<Revision> SqliteStore::write_all(std::span<const Write> writes) {
  Revision next = revision_;
  for (const auto& write : writes) {
    auto current = find(write.kind, write.name);
    if (!current) return fail(std::move(current.error()));
    auto event = change(write, *current, next + 1);
    if (!event) return fail(std::move(event.error()));
    if (!*event) continue;
    if (auto written = write_event(**event); !written) return fail(std::move(written.error()));
    ++next;
  }
  return next;
}

Result<Revision> SqliteStore::commit(std::span<const Write> writes) {
  Revision before = 0;
  Revision after = 0;
  {
    const std::scoped_lock lock(mutex_);
    before = after = revision_;
    auto compacted = compacted_;
    auto done = transaction([&]() -> Result<> {
      auto last = write_all(writes);
      if (!last) return fail(std::move(last.error()));
      after = *last;
      if (after > compacted + limits::store_events_kept + compaction_stride) compacted = after - limits::store_events_kept;
      return after == before ? Result<>{} : write_state(after, compacted);
    });
    if (!done) return fail(std::move(done.error()));
    revision_ = after;
    compacted_ = compacted;
  }
  if (after > before) notifier_.announce(after);
  return after;
}

Result<std::vector<Event>> SqliteStore::events(std::string_view kind, Revision after, std::size_t limit) {
  const std::scoped_lock lock(mutex_);
  if (after < compacted_) return fail(too_old(after, compacted_));
  auto& row = kind.empty() ? run_.events_all.reset().bind(after) : run_.events.reset().bind(after).bind(kind);
  row.bind(std::uint64_t{limit});
  std::vector<Event> events;
  for (;;) {
    auto found = row.step();
    if (!found) return fail(std::move(found.error()));
    if (!*found) break;
    const auto type = row.number(1) == 0 ? Event::Type::put : Event::Type::removed;
    events.push_back({type, row.number(0), read_record(row, 2)});
  }
  row.reset();
  return events;
}

Result<> SqliteStore::compact(Revision until) {
  const std::scoped_lock lock(mutex_);
  const auto compacted = std::max(compacted_, std::min(until, revision_));
  auto done = transaction([&] { return write_state(revision_, compacted); });
  if (done) compacted_ = compacted;
  return done;
}

Result<AuditLine> SqliteStore::append_audit(std::string_view entry) {
  const std::scoped_lock lock(mutex_);
  AuditLine line;
  auto done = transaction([&]() -> Result<> {
    auto found = run_.last_audit.reset().step();
    if (!found) return fail(std::move(found.error()));
    const auto last = *found ? read_line(run_.last_audit) : AuditLine{};
    run_.last_audit.reset();
    line = next_line(last, utc_now(), entry);
    return run_.add_audit.reset().bind(line.number).bind(line.time).bind(line.entry).bind(line.hash).run();
  });
  if (!done) return fail(std::move(done.error()));
  return line;
}

Result<std::vector<AuditLine>> SqliteStore::audit(std::uint64_t after, std::size_t limit) {
  const std::scoped_lock lock(mutex_);
  auto& row = run_.audit.reset().bind(after).bind(std::uint64_t{limit});
  std::vector<AuditLine> lines;
  for (;;) {
    auto found = row.step();
    if (!found) return fail(std::move(found.error()));
    if (!*found) break;
    lines.push_back(read_line(row));
  }
  row.reset();
  return lines;
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite(const std::string& path) {
  auto database = Database::open(path);
  if (!database) return fail(std::move(database.error()));
  auto store = std::make_unique<SqliteStore>(std::move(*database));
  if (auto loaded = store->load(); !loaded) return fail(std::move(loaded.error()));
  return store;
}

}  // namespace epif::store
