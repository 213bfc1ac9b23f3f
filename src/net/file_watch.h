#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "net/loop.h"

namespace epif::net {

/// Calls back on the loop's thread when a file was replaced (rename), written and closed, or deleted; until its destruction.
/// Watches the folder, so the file need not exist yet. Several changes at once may come as one call.
class FileWatch {
 public:
  using OnChange = std::function<void()>;
  /// Errors: not_found (the folder), no_descriptors, io.
  [[nodiscard]] static Result<std::unique_ptr<FileWatch>> start(Loop& loop, const std::string& path, OnChange on_change);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  struct State;
  explicit FileWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace epif::net
