#include "admission/users.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <cassert>
#include <fstream>

#include "base/limits.h"

namespace epif::admission {

Result<> Users::add(std::string_view name_and_password) {
  const auto colon = name_and_password.find(':');
  const auto fits = [](std::string_view field) { return !field.empty() && field.size() <= limits::name_max_bytes; };
  if (colon == std::string_view::npos || !fits(name_and_password.substr(0, colon)) ||
      !fits(name_and_password.substr(colon + 1))) {
    return fail(Code::usage, "a user is NAME:PASSWORD, each 1 to 255 bytes");  // the text itself may hold a secret
  }
  const auto [at, added] = passwords_.emplace(name_and_password.substr(0, colon), name_and_password.substr(colon + 1));
  if (!added) return fail(Code::conflict, fmt::format("user '{}' is given twice", at->first));
  return {};
}

Result<> Users::add_file(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) return fail(Code::not_found, "cannot read the file of users", file.string());
  struct stat facts {};
  if (::stat(file.c_str(), &facts) == 0 && (facts.st_mode & 077) != 0) {
    return fail(Code::permission, "the file of users may be read by others", file.string(), {}, "chmod 600 it");
  }
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line.starts_with('#')) continue;
    auto added = add(line);
    if (!added) {
      auto error = std::move(added.error());
      error.where = fmt::format("{}:{}", file.string(), number);
      return fail(std::move(error));
    }
  }
  return {};
}

bool Users::accepts(std::string_view name, std::string_view password) const {
  const auto found = passwords_.find(name);
  if (found == passwords_.end() || found->second.size() != password.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < password.size(); ++i) {
    difference |= static_cast<unsigned>(static_cast<unsigned char>(password[i]) ^ static_cast<unsigned char>(found->second[i]));
  }
  return difference == 0;
}

Bytes Users::proof(std::string_view name, ByteSpan salt) const {
  const auto found = passwords_.find(name);
  if (found == passwords_.end()) return {};
  Bytes all(salt.begin(), salt.end());
  for (const std::string_view part : {std::string_view(found->first), std::string_view(found->second)}) {
    all.push_back(static_cast<std::uint8_t>(part.size()));  // at most 255: where one ends and the other begins
    all.insert(all.end(), part.begin(), part.end());
  }
  Bytes made(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  [[maybe_unused]] const auto done = EVP_Digest(all.data(), all.size(), made.data(), &size, EVP_sha256(), nullptr);
  assert(done == 1);
  made.resize(size);
  return made;
}

}  // namespace epif::admission
