#include "base/bytes.h"

#include <algorithm>
#include <array>

namespace epif {
namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string to_hex(ByteSpan bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const auto byte : bytes) {
    text += hex_digits[byte >> 4];
    text += hex_digits[byte & 15];
  }
  return text;
}

Bytes from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return {};
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_value(text[i]);
    const int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes.push_back(static_cast<std::uint8_t>(high * 16 + low));
  }
  return bytes;
}

std::string to_base64(ByteSpan bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = std::uint32_t{bytes[i]} << 16;
    if (have > 1) word |= std::uint32_t{bytes[i + 1]} << 8;
    if (have > 2) word |= bytes[i + 2];
    text += base64_digits[(word >> 18) & 63];
    text += base64_digits[(word >> 12) & 63];
    text += have > 1 ? base64_digits[(word >> 6) & 63] : '=';
    text += have > 2 ? base64_digits[word & 63] : '=';
  }
  return text;
}

Bytes from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return {};
  Bytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t word = 0;
    std::size_t padding = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const char c = text[i + j];
      if (c == '=' && i + 4 == text.size() && j >= 2) {
        ++padding;
        word <<= 6;
        continue;
      }
      const auto value = base64_digits.find(c);
      if (value == std::string_view::npos || padding > 0) return {};
      word = (word << 6) | static_cast<std::uint32_t>(value);
    }
    if ((word & ((1u << (8 * padding)) - 1)) != 0) return {};  // spare bits: a second spelling of the same bytes
    bytes.push_back(static_cast<std::uint8_t>(word >> 16));
    if (padding < 2) bytes.push_back(static_cast<std::uint8_t>(word >> 8));
    if (padding < 1) bytes.push_back(static_cast<std::uint8_t>(word));
  }
  return bytes;
}

}  // namespace epif
