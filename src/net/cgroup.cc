#include "net/cgroup.h"

#include <mntent.h>

#include <array>
#include <cstdio>
#include <memory>

namespace epif::net {

std::string cgroup_mount(std::string_view process) {
  const auto folder = "/proc/" + std::string(process);
  const std::unique_ptr<FILE, int (*)(FILE*)> mounts(::setmntent((folder + "/mounts").c_str(), "r"), ::endmntent);
  if (!mounts) return {};
  mntent entry{};
  std::array<char, 4096> text;
  while (::getmntent_r(mounts.get(), &entry, text.data(), static_cast<int>(text.size())) != nullptr) {
    if (std::string_view(entry.mnt_type) != "cgroup2") continue;
    return process == "self" ? std::string(entry.mnt_dir) : folder + "/root" + entry.mnt_dir;
  }
  return {};
}

}  // namespace epif::net
