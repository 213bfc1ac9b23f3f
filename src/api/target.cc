#include "api/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/bytes.h"

namespace epif::api {

std::optional<std::string> decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\0') return std::nullopt;
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const auto byte = from_hex(text.substr(i + 1, 2));
    if (byte.size() != 1 || byte[0] == 0) return std::nullopt;
    decoded += static_cast<char>(byte[0]);
    i += 2;
  }
  return decoded;
}

std::string encode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").contains(c);
    if (plain) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::vector<std::string_view> raw_segments(std::string_view path) {
  std::vector<std::string_view> parts;
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.ends_with('/')) path.remove_suffix(1);
  while (!path.empty()) {
    const auto slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == path.npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

std::optional<std::vector<std::string>> segments(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  std::vector<std::string> parts;
  for (const auto raw : raw_segments(path)) {
    auto part = decode(raw);
    if (!part || part->empty() || *part == "." || *part == "..") return std::nullopt;
    parts.push_back(std::move(*part));
  }
  return parts;
}

std::optional<Target> parse_target(std::string_view target) {
  const auto question = target.find('?');
  Target result{.path = std::string(target.substr(0, question)), .query = {}};
  if (question == target.npos) return result;
  auto rest = target.substr(question + 1);
  while (!rest.empty()) {
    const auto end = std::min(rest.find('&'), rest.size());
    std::string pair(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::ranges::replace(pair, '+', ' ');
    const auto equals = std::min(pair.find('='), pair.size());
    auto key = decode(std::string_view(pair).substr(0, equals));
    auto value = decode(equals < pair.size() ? std::string_view(pair).substr(equals + 1) : std::string_view());
    if (!key || !value) return std::nullopt;
    if (!key->empty()) result.query[std::move(*key)] = std::move(*value);
  }
  return result;
}

}  // namespace epif::api
