#pragma once
#include <string>

#include "base/error.h"

namespace epif::leak {

/// A folder of this process in /run, removed with the object. Its name says whose it is.
class OwnFolder {
 public:
  /// Removes those of dead processes first. Errors: io.
  [[nodiscard]] static Result<OwnFolder> make();
  OwnFolder(OwnFolder&& other) noexcept;
  OwnFolder& operator=(OwnFolder&&) = delete;
  ~OwnFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit OwnFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace epif::leak
