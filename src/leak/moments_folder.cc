#include "leak/moments_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

namespace epif::leak {
namespace {

constexpr std::string_view prefix = "epif-leak-";

/// Clock ticks after boot at which a process started: with its id, a name that no later process has (proc_pid_stat(5), 22).
std::optional<std::uint64_t> start_of(std::int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto at = text.rfind(')');
  if (at == text.npos) return {};
  constexpr int fields_between = 20;  // behind the name: state is field 3
  for (int i = 0; i < fields_between; ++i) {
    at = text.find(' ', at + 1);
    if (at == text.npos) return {};
  }
  std::uint64_t start = 0;
  std::from_chars(text.data() + at + 1, text.data() + text.size(), start);
  return start;
}

void remove_leftovers() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/run", ignored)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    std::int64_t pid = 0;
    std::uint64_t start = 0;
    const char* const end = name.data() + name.size();
    const auto first = std::from_chars(name.data() + prefix.size(), end, pid);
    if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '-') continue;
    const auto second = std::from_chars(first.ptr + 1, end, start);
    if (second.ec != std::errc{} || second.ptr != end || start_of(pid) == start) continue;
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

}  // namespace

Result<OwnFolder> OwnFolder::make() {
  remove_leftovers();
  const auto pid = static_cast<std::int64_t>(::getpid());
  auto path = fmt::format("/run/{}{}-{}", prefix, pid, start_of(pid).value_or(0));
  std::error_code failure;
  std::filesystem::create_directory(path, failure);
  if (failure) return fail(Code::io, "cannot make a folder", path, failure.message());
  std::filesystem::permissions(path, std::filesystem::perms::owner_all, failure);
  return OwnFolder(std::move(path));
}

OwnFolder::OwnFolder(OwnFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}

OwnFolder::~OwnFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace epif::leak
