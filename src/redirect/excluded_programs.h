#pragma once
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace epif::redirect {

/// A cgroup whose programs are left alone.
struct ExcludedCgroup {
  std::string name;    ///< below the hierarchy's root, without a leading '/'
  std::string folder;  ///< where this process finds it
  std::uint64_t number = 0;  ///< the kernel's; 0: it is gone. One that is made again under its name has another
  friend auto operator<=>(const ExcludedCgroup&, const ExcludedCgroup&) = default;

  /// How deep it lies below the root.
  [[nodiscard]] unsigned level() const;
  /// As nftables looks for it: from /sys/fs/cgroup on, wherever the hierarchy is mounted.
  [[nodiscard]] std::string nft_path() const;
};

/// Programs that the redirector leaves alone: neither captured nor guarded, wherever they send.
struct ExcludedPrograms {
  std::vector<std::uint32_t> users;
  std::vector<ExcludedCgroup> cgroups;
  /// Of packets to protected destinations that the rules have found to be theirs; random, since the sender of a raw frame chooses its mark.
  std::uint32_t mark = 0;
  friend bool operator==(const ExcludedPrograms&, const ExcludedPrograms&) = default;

  [[nodiscard]] bool empty() const { return users.empty() && cgroups.empty(); }
  /// Looks for all cgroups again; true if one has vanished, or is another one under its name.
  bool look_again();
};

/// `users`: names or numbers. `cgroups`: paths below the hierarchy's root. Errors: not_found (a user or a cgroup that this node does not
/// have), invalid_input (a name that nftables cannot be told).
[[nodiscard]] Result<ExcludedPrograms> find_programs(const std::vector<std::string>& users, const std::vector<std::string>& cgroups);

}  // namespace epif::redirect
