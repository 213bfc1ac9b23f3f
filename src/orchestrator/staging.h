#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace epif::orchestrator {

/// A folder that comes to be: everything is made in its subfolder `.init`, then moved up file by file, the one that makes it
/// whole last. What a crash leaves is known by its names and removed by the next Staging of the folder; nothing else ever is.
/// Works in any own folder that is there already: one under a parent that is not ours, a mounted volume.
class Staging {
 public:
  /// `names`: all files that may be made; the last one makes the folder whole. Makes `folder` (0700) if it is not there.
  /// Errors: conflict (it holds something else; another Staging has it), permission (another user owns it, others may write
  /// to it).
  [[nodiscard]] static Result<Staging> open(const std::string& folder, std::vector<std::string> names);
  Staging(Staging&&) noexcept = default;
  Staging& operator=(Staging&&) = delete;
  /// Unless finish() succeeded: removes what was made, also the folder if open() made it.
  ~Staging();

  [[nodiscard]] const std::string& place() const { return place_; }  ///< make the files here
  /// Moves all up. Once it returns success, a power loss takes nothing away.
  [[nodiscard]] Result<> finish();

 private:
  Staging(std::string folder, std::vector<std::string> names, Fd held, bool made);
  [[nodiscard]] Result<> clean() const;
  [[nodiscard]] bool is_ours(const std::string& name) const;
  [[nodiscard]] Result<> remove_ours(const std::string& where) const;

  std::string folder_;
  std::string place_;
  std::vector<std::string> names_;
  Fd held_;    ///< of the folder; carries the lock; none after a move
  bool made_;  ///< the folder was not there before
  bool finished_ = false;
};

}  // namespace epif::orchestrator
