#include "store/audit.h"

#include <fmt/chrono.h>
#include <openssl/sha.h>

#include <array>
#include <cassert>
#include <chrono>

#include "base/bytes.h"

namespace epif::store {
namespace {

std::string chain_hash(std::string_view before, std::string_view time, std::string_view entry) {
  const auto text = fmt::format("{}\n{}\n{}", before, time, entry);
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  const auto bytes = as_bytes(text);
  SHA256(bytes.data(), bytes.size(), digest.data());
  return to_hex(digest);
}

}  // namespace

AuditLine next_line(const AuditLine& last, std::string time, std::string_view entry) {
  assert(entry.find('\n') == std::string_view::npos);
  auto hash = chain_hash(last.hash, time, entry);
  return {.number = last.number + 1, .time = std::move(time), .entry = std::string(entry), .hash = std::move(hash)};
}

std::string utc_now() {
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)),
                     (now - seconds).count());
}

std::uint64_t first_broken_line(std::span<const AuditLine> lines, std::string_view before) {
  std::string previous(before);
  std::uint64_t number = lines.empty() ? 0 : lines.front().number;
  for (const auto& line : lines) {
    if (line.number != number++ || line.hash != chain_hash(previous, line.time, line.entry)) return line.number;
    previous = line.hash;
  }
  return 0;
}

}  // namespace epif::store
