#include "redirect/excluded_programs.h"

#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

#include "net/cgroup.h"
#include "redirect/capture.h"

namespace epif::redirect {
namespace {

constexpr std::string_view nft_root = "/sys/fs/cgroup/";

std::uint64_t number_of(const std::string& folder) {
  struct stat facts {};
  return ::stat(folder.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode) ? facts.st_ino : 0;
}

std::optional<std::uint32_t> user_number(const std::string& user) {
  if (std::ranges::all_of(user, [](char byte) { return byte >= '0' && byte <= '9'; })) {
    std::uint32_t number = 0;
    const auto [end, failure] = std::from_chars(user.data(), user.data() + user.size(), number);
    const bool whole = failure == std::errc{} && end == user.data() + user.size();
    // The greatest one is the system's word for nobody.
    return whole && number != std::numeric_limits<std::uint32_t>::max() ? std::optional(number) : std::nullopt;
  }
  std::array<char, 4096> text;
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(user.c_str(), &entry, text.data(), text.size(), &found) != 0 || found == nullptr) return std::nullopt;
  return entry.pw_uid;
}

template <class T>
void each_once(std::vector<T>& list) {
  std::ranges::sort(list);
  const auto twice = std::ranges::unique(list);
  list.erase(twice.begin(), twice.end());
}

}  // namespace

unsigned ExcludedCgroup::level() const { return static_cast<unsigned>(std::ranges::count(name, '/')) + 1; }

std::string ExcludedCgroup::nft_path() const {
  if (folder.starts_with(nft_root)) return folder.substr(nft_root.size());
  return "../../.." + folder;
}

bool ExcludedPrograms::look_again() {
  bool changed = false;
  for (auto& cgroup : cgroups) {
    const auto now = number_of(cgroup.folder);
    changed = changed || now != cgroup.number;
    cgroup.number = now;
  }
  return changed;
}

Result<ExcludedPrograms> find_programs(const std::vector<std::string>& users, const std::vector<std::string>& cgroups) {
  ExcludedPrograms found;
  for (const auto& user : users) {
    const auto number = user_number(user);
    if (!number) {
      return fail(Code::not_found, "this node has no such user", "--exclude-user " + user, {},
                  "give the name of a user of this node, or a number");
    }
    found.users.push_back(*number);
  }
  const auto root = cgroups.empty() ? std::string{} : net::cgroup_mount();
  for (const auto& name : cgroups) {
    if (name.find_first_of("\"\n") != name.npos) {
      return fail(Code::invalid_input, "nftables cannot be told this name", "--exclude-cgroup " + name);
    }
    ExcludedCgroup cgroup{name, root + "/" + name, 0};
    if (root.empty()) cgroup.folder = net::cgroup_mount("1") + "/" + name;  // hidden from this process by a mount of its own
    cgroup.number = number_of(cgroup.folder);
    if (cgroup.number == 0) {
      return fail(Code::not_found, "this node has no such cgroup", "--exclude-cgroup " + name, "it is not at " + cgroup.folder,
                  "start its service first, or exclude the slice that holds it");
    }
    found.cgroups.push_back(std::move(cgroup));
  }
  each_once(found.users);
  each_once(found.cgroups);
  if (!found.empty()) found.mark = random_mark();
  return found;
}

}  // namespace epif::redirect
