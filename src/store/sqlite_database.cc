#include "store/sqlite_database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cassert>
#include <cerrno>
#include <utility>

#include "base/fd.h"

namespace epif::store {
namespace {

struct Meaning {
  Code code;
  const char* why;
  const char* advice;
};

Meaning meaning(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL: return {Code::io, "the disk is full", "free some space; nothing was changed"};
    case SQLITE_READONLY: return {Code::permission, "the file or its folder is read-only", "give it to the user that runs epif"};
    case SQLITE_CANTOPEN: return {Code::permission, "it cannot be opened", "check folder, owner and mode"};
    case SQLITE_PERM: return {Code::permission, "access is refused", "check owner and mode"};
    case SQLITE_NOTADB: return {Code::invalid_input, "it is not a SQLite database", "give another path"};
    case SQLITE_CORRUPT: return {Code::io, "the database is damaged", "restore a backup"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {Code::conflict, "another process uses it", "stop the other orchestrator, or ask it through its API"};
    case SQLITE_NOMEM: return {Code::limit, "out of memory", ""};
    default: return {Code::io, "", ""};
  }
}

/// Makes the file if there is none: here, not by SQLite, for the mode; SQLite gives its WAL the same one.
/// A file that is there is not opened: POSIX drops all locks of a process on a file as soon as the process closes any
/// descriptor of it (fcntl(2)), so that a store already open here would lose its own.
Result<> make_file(const std::string& path) {
  const Fd made(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (made) return {};
  if (errno != EEXIST) return fail(system_error(errno, "cannot open the store", path));
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0) return fail(system_error(errno, "cannot open the store", path));
  if (S_ISREG(facts.st_mode)) return {};
  return fail(Code::invalid_input, "cannot open the store", path, "it is no regular file", "give the path of the file itself");
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)), next_(other.next_) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(database_, other.database_);
  std::swap(statement_, other.statement_);
  std::swap(next_, other.next_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::reset() {
  assert(statement_);
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  next_ = 1;
  return *this;
}

// A bind fails only for a wrong index or lack of memory; the first is our fault, the second shows at step().
Statement& Statement::bind(std::string_view text) {
  assert(next_ <= sqlite3_bind_parameter_count(statement_));
  sqlite3_bind_text64(statement_, next_++, text.data() ? text.data() : "", text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind(std::uint64_t number) {
  assert(next_ <= sqlite3_bind_parameter_count(statement_));
  sqlite3_bind_int64(statement_, next_++, static_cast<sqlite3_int64>(number));
  return *this;
}

Result<bool> Statement::step() {
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  auto error = database_->error(result, "cannot use the store");
  sqlite3_reset(statement_);
  return fail(std::move(error));
}

Result<> Statement::run() {
  auto row = step();
  if (!row) return fail(std::move(row.error()));
  sqlite3_reset(statement_);
  return {};
}

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return bytes ? std::string(bytes, size) : std::string();
}

std::uint64_t Statement::number(int column) const {
  return static_cast<std::uint64_t>(sqlite3_column_int64(statement_, column));
}

Result<Database> Database::open(const std::string& path) {
  if (auto there = make_file(path); !there) return fail(std::move(there.error()));
  sqlite3* handle = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr);
  Database database(handle, path);
  if (result != SQLITE_OK) return fail(database.error(result, "cannot open the store"));
  sqlite3_extended_result_codes(handle, 1);
  // Exclusive before WAL: no shared-memory file, and a second orchestrator on this file is told so.
  auto set_up = database.execute(
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF;"
      "BEGIN IMMEDIATE; COMMIT;");
  if (!set_up) return fail(std::move(set_up.error()));
  return database;
}

Database::Database(Database&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}

Database::~Database() { sqlite3_close_v2(handle_); }

Result<> Database::execute(const char* sql) {
  const int result = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) return fail(error(result, "cannot use the store"));
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) const {
  Statement statement;
  statement.database_ = this;
  const int result = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                        &statement.statement_, nullptr);
  if (result != SQLITE_OK) return fail(error(result, "cannot use the store"));
  return statement;
}

Error Database::error(int result, std::string what) const {
  const auto known = meaning(result);
  std::string why = known.why;
  if (why.empty()) why = handle_ ? sqlite3_errmsg(handle_) : sqlite3_errstr(result);
  return {known.code, std::move(what), path_, std::move(why), known.advice};
}

}  // namespace epif::store
