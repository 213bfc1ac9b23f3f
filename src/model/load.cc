#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "model/document.h"

namespace epif {
namespace {

namespace fs = std::filesystem;

Result<std::string> read_stream(std::istream& stream, const std::string& name) {
  std::string text;
  std::array<char, 64 * 1024> part{};
  while (stream.read(part.data(), part.size()) || stream.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(stream.gcount()));
    if (text.size() > limits::document_max_bytes) {
      return fail(Code::limit, "the document is too large", name,
                  fmt::format("at most {} bytes are accepted", limits::document_max_bytes), "split it into several files");
    }
  }
  if (stream.bad()) return fail(Code::io, "cannot read", name);
  return text;
}

Result<std::string> read_file(const std::string& path) {
  if (path == "-") return read_stream(std::cin, "stdin");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return fail(system_error(errno, "cannot open the file", path));
  return read_stream(stream, path);
}

bool is_document(const fs::path& path) {
  const auto ending = path.extension();
  return ending == ".yaml" || ending == ".yml" || ending == ".json";
}

/// The files that `path` means, in order.
Result<std::vector<std::string>> files_of(const std::string& path) {
  std::error_code failure;
  if (path == "-" || !fs::is_directory(path, failure)) return std::vector{path};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path, failure)) {
    if (is_document(entry.path())) files.push_back(entry.path().string());
  }
  if (failure) return fail(system_error(failure.value(), "cannot read the folder", path));
  if (files.empty()) {
    const auto below = unread_folders(std::vector{path});
    return fail(Code::not_found, "the folder holds no *.yaml, *.yml or *.json", path, below.empty() ? "" : "folders in it are not read",
                below.empty() ? "" : "name " + below.front() + " itself");
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

Result<ResourceSet> load_resources(std::span<const std::string> paths) {
  ResourceSet set;
  for (const auto& path : paths) {
    const auto files = files_of(path);
    if (!files) return fail(files.error());
    for (const auto& file : *files) {
      const auto text = read_file(file);
      if (!text) return fail(text.error());
      auto resources = parse_resources(*text, file == "-" ? "stdin" : file);
      if (!resources) return fail(std::move(resources.error()));
      for (auto& resource : *resources) {
        if (auto added = set.add(std::move(resource)); !added) return fail(std::move(added.error()));
      }
    }
  }
  return set;
}

std::vector<std::string> unread_folders(std::span<const std::string> paths) {
  std::vector<std::string> unread;
  std::error_code failure;
  for (const auto& path : paths) {
    if (path == "-" || !fs::is_directory(path, failure)) continue;
    for (const auto& entry : fs::directory_iterator(path, failure)) {
      if (!entry.is_directory(failure)) continue;
      for (const auto& inner : fs::directory_iterator(entry.path(), failure)) {
        if (!is_document(inner.path())) continue;
        unread.push_back(entry.path().string());
        break;
      }
    }
  }
  std::ranges::sort(unread);
  unread.erase(std::ranges::unique(unread).begin(), unread.end());
  std::erase_if(unread, [&](const std::string& folder) {
    return std::ranges::any_of(paths, [&](const std::string& path) { return fs::equivalent(path, folder, failure); });
  });
  return unread;
}

}  // namespace epif
