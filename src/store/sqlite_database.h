#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

struct sqlite3;
struct sqlite3_stmt;

/// The little of SQLite's C interface that the store needs, with owned handles and errors as values.
namespace epif::store {

class Database;

/// One prepared statement: bind in order of the question marks, step, read columns; reusable after reset().
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  /// Starts over: clears row and bindings; the next bind is the first "?".
  Statement& reset();
  Statement& bind(std::string_view text);
  Statement& bind(std::uint64_t number);
  /// True: a row is there to read; false: done.
  [[nodiscard]] Result<bool> step();
  /// For statements without rows: step, then reset.
  [[nodiscard]] Result<> run();
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::uint64_t number(int column) const;

 private:
  friend class Database;
  const Database* database_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int next_ = 1;
};

class Database {
 public:
  /// Opens or makes `path` with mode 0600, locked for this process alone, WAL, synchronous=FULL.
  [[nodiscard]] static Result<Database> open(const std::string& path);
  Database(Database&& other) noexcept;
  Database& operator=(Database&&) = delete;
  ~Database();

  [[nodiscard]] Result<> execute(const char* sql);
  [[nodiscard]] Result<Statement> prepare(std::string_view sql) const;
  /// SQLite's last error in the words of base/error.h.
  [[nodiscard]] Error error(int result, std::string what) const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  sqlite3* handle_ = nullptr;
  std::string path_;
};

}  // namespace epif::store
