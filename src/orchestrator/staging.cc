#include "orchestrator/staging.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace epif::orchestrator {
namespace {

namespace fs = std::filesystem;

constexpr const char* stage = ".init";
constexpr const char* other_folder = "choose another --dir";

Error taken(const std::string& folder, const std::string& why) { return {Code::conflict, "this is not an empty folder", folder, why, other_folder}; }

/// Only its owner (or root) may have put anything into it; `refused` are the mode bits that it must not have.
Result<> check_owner(int fd, const std::string& folder, unsigned refused) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return fail(system_error(errno, "cannot look at the folder", folder));
  if (facts.st_uid != ::geteuid() && facts.st_uid != 0) {
    return fail(Code::permission, "another user owns this folder", folder, fmt::format("user {}", facts.st_uid), other_folder);
  }
  if ((facts.st_mode & refused) == 0) return {};
  return fail(Code::permission, "others may write to this folder", folder, fmt::format("its mode is {:03o}", facts.st_mode & 0777u),
              "chmod 700 it, or choose another --dir");
}

Fd open_folder(const std::string& path) { return Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)); }

Result<std::vector<std::string>> names_in(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) names.push_back(at->path().filename().string());
  if (error) return fail(system_error(error.value(), "cannot look at the folder", folder));
  return names;
}

}  // namespace

Staging::Staging(std::string folder, std::vector<std::string> names, Fd held, bool made)
    : folder_(std::move(folder)), place_(folder_ + "/" + stage), names_(std::move(names)), held_(std::move(held)), made_(made) {}

Result<Staging> Staging::open(const std::string& folder, std::vector<std::string> names) {
  assert(!names.empty());
  const bool made = ::mkdir(folder.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) return fail(system_error(errno, "cannot make the folder", folder));
  auto held = open_folder(folder);
  if (!held && (errno == ENOTDIR || errno == ELOOP)) return fail(taken(folder, "it is no folder"));
  if (!held) return fail(system_error(errno, "cannot open the folder", folder));
  // Owner first: what is in another user's folder says nothing.
  if (auto own = check_owner(held.get(), folder, 022); !own) return fail(std::move(own.error()));
  if (::flock(held.get(), LOCK_EX | LOCK_NB) != 0) return fail(Code::conflict, "another init is at work", folder, {}, "wait for it");
  Staging staging(folder, std::move(names), std::move(held), made);
  staging.finished_ = true;  // until the place is ours there is nothing to remove
  if (auto clean = staging.clean(); !clean) return fail(std::move(clean.error()));
  if (::mkdir(staging.place_.c_str(), 0700) != 0) return fail(system_error(errno, "cannot make the folder", staging.place_));
  staging.finished_ = false;
  const auto place = open_folder(staging.place_);
  if (!place) return fail(system_error(errno, "cannot open the folder", staging.place_));
  if (auto own = check_owner(place.get(), staging.place_, 077); !own) return fail(std::move(own.error()));
  return staging;
}

/// With the names that SQLite and a file's careful writer give to what they have not finished.
bool Staging::is_ours(const std::string& name) const {
  return std::ranges::any_of(names_, [&](const std::string& ours) {
    return name == ours || name == ours + "-wal" || name == ours + "-shm" || name == ours + "-journal" || name.starts_with(ours + ".new.");
  });
}

/// Makes sure that the folder is empty: removes what a crashed init left, if that is all there is.
Result<> Staging::clean() const {
  auto there = names_in(folder_);
  if (!there) return fail(std::move(there.error()));
  if (there->empty()) return {};
  if (std::ranges::find(*there, names_.back()) != there->end()) {
    return fail(Code::conflict, "this folder holds an orchestrator already", folder_, "it has a " + names_.back(),
                "run it with `epif orchestrator run --dir " + folder_ + "`, or choose another --dir");
  }
  const auto place = open_folder(place_);
  if (!place) return fail(taken(folder_, "it holds " + there->front()));
  if (auto own = check_owner(place.get(), place_, 077); !own) return own;
  auto staged = names_in(place_);
  if (!staged) return fail(std::move(staged.error()));
  for (const auto* names : {&*there, &*staged}) {
    for (const auto& name : *names) {
      if (!is_ours(name) && (names == &*staged || name != stage)) return fail(taken(folder_, "it holds " + name + ", which no init made"));
    }
  }
  return remove_ours(folder_);
}

Result<> Staging::remove_ours(const std::string& where) const {
  auto there = names_in(where);
  if (!there) return fail(std::move(there.error()));
  for (const auto& name : *there) {
    const auto path = where + "/" + name;
    if (is_ours(name) && ::unlink(path.c_str()) != 0) return fail(system_error(errno, "cannot remove what an init left", path));
  }
  if (where == place_) return {};
  // Last: by it the next init knows what this one leaves if it ends here.
  if (auto done = remove_ours(place_); !done) return done;
  if (::rmdir(place_.c_str()) != 0) return fail(system_error(errno, "cannot remove what an init left", place_));
  return {};
}

Result<> Staging::finish() {
  auto staged = names_in(place_);
  if (!staged) return fail(std::move(staged.error()));
  const auto move = [&](const std::string& name) -> Result<> {
    // Not over anything: whoever put it there since open() keeps it.
    const auto from = place_ + "/" + name;
    const auto to = folder_ + "/" + name;
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno == EINVAL && ::rename(from.c_str(), to.c_str()) == 0) return {};  // a file system that cannot promise it
    return fail(system_error(errno, "cannot move into the folder", to));
  };
  for (const auto& name : *staged) {
    if (name == names_.back()) continue;
    if (auto moved = move(name); !moved) return moved;
  }
  ::fsync(held_.get());  // before the file that says that all is there
  if (auto moved = move(names_.back()); !moved) return moved;
  finished_ = true;
  ::rmdir(place_.c_str());
  ::fsync(held_.get());
  const Fd parent(::open(fs::path(folder_).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (made_ && parent) ::fsync(parent.get());
  return {};
}

Staging::~Staging() {
  if (!held_) return;  // moved from
  if (!finished_) (void)remove_ours(folder_);
  if (made_) ::rmdir(folder_.c_str());  // only if nothing is in it
}

}  // namespace epif::orchestrator
