#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>

#include "model/routing.h"
#include "net/loop.h"
#include "net/task.h"
#include "proxy/counters.h"

namespace epif::proxy {

/// routes.json, watched: read again when it is replaced in its folder, and on reload(). A file that is bad is refused with its
/// reason, and the table before it keeps serving, unless fail_closed_after() said otherwise. On one loop, which outlives it.
class RoutesFile {
 public:
  using OnTable = std::function<void(std::shared_ptr<const Routing>)>;

  /// Reads the file and begins to watch its folder. Errors: not_found, invalid_input (file:line:column or path of the field),
  /// limit (too large), no_descriptors.
  [[nodiscard]] static Result<std::unique_ptr<RoutesFile>> open(net::Loop& loop, std::filesystem::path file, OnTable on_table);
  ~RoutesFile();
  RoutesFile(const RoutesFile&) = delete;
  RoutesFile& operator=(const RoutesFile&) = delete;

  /// Reads now; tells on_table only if the content differs.
  void reload();
  /// Watches and reads `file` from now on, in the place of the one before. One that cannot be read is a bad file like any other.
  void follow(std::filesystem::path file);
  /// For a process that drains, from now on: when the file could not be read for `patience`, now or later, on_table is told a
  /// table without routes, which ends all flows. A file that can be read again in time, or after it, is taken as ever.
  void fail_closed_after(std::chrono::milliseconds patience);
  [[nodiscard]] std::shared_ptr<const Routing> routing() const;
  [[nodiscard]] TableState state() const;
  [[nodiscard]] std::filesystem::path file() const;  ///< absolute

 private:
  struct Watch;
  explicit RoutesFile(std::shared_ptr<Watch> watch);
  static net::Task<void> run(std::shared_ptr<Watch> watch);
  std::shared_ptr<Watch> watch_;
};

/// Reads a whole routes file into a table.
[[nodiscard]] Result<RouteTable> read_routes(const std::filesystem::path& file);

}  // namespace epif::proxy
