#pragma once
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace epif::leak {

/// A process of our own program in a namespace of the lab. It dies with this object, and with our process.
class Child {
 public:
  /// Runs this program with `words`. `input` and `output` become its standard streams; what it says to stderr goes to `log`.
  [[nodiscard]] static Result<Child> start(const std::vector<std::string>& words, const Fd& space, const Fd& input, const Fd& output,
                                           const std::string& log);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  void signal(int number) const;
  /// True if it ended within `patience`.
  [[nodiscard]] bool wait(std::chrono::milliseconds patience);
  [[nodiscard]] bool running();

 private:
  Child(pid_t pid, Fd process) : pid_(pid), process_(std::move(process)) {}
  pid_t pid_ = -1;
  Fd process_;
};

}  // namespace epif::leak
