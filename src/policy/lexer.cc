#include "policy/lexer.h"

#include <fmt/format.h>

#include <array>
#include <cassert>

#include "base/limits.h"
#include "policy/value.h"

namespace epif::policy {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Length of the UTF-8 sequence at the start of `text`; 0 when it is not well-formed (RFC 3629).
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xc0) == 0x80; };
  const auto lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool overlong_or_surrogate = (lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) > 0x9f);
    return tail(1) && tail(2) && !overlong_or_surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool out_of_range = (lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) > 0x8f);
    return tail(1) && tail(2) && tail(3) && !out_of_range ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Two-character symbols first, so that the longest match wins.
constexpr std::array<std::string_view, 28> symbols = {"::", "==", "!=", "<=", ">=", "&&", "||", "(", ")", "{",
                                                      "}",  "[",  "]",  ",",  ";",  ":",  ".",  "@", "?", "<",
                                                      ">",  "!",  "+",  "-",  "*",  "/",  "%",  "="};

std::size_t symbol_length(std::string_view rest) {
  for (const auto symbol : symbols) {
    if (rest.starts_with(symbol)) return symbol.size();
  }
  return 0;
}

/// Length of the string literal at the start of `rest`, quotes included; 0 when it does not end.
std::size_t string_length(std::string_view rest) {
  for (std::size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == '"') return i + 1;
    if (rest[i] == '\\') ++i;
  }
  return 0;
}

std::size_t blank_length(std::string_view rest) {
  if (rest.starts_with("//")) return std::min(rest.find('\n'), rest.size());
  const auto end = rest.find_first_not_of(" \t\r\n\v\f");
  return end == std::string_view::npos ? rest.size() : end;
}

Result<Token> next_token(const Source& source, std::uint32_t offset) {
  const auto rest = std::string_view(source.text).substr(offset);
  const auto token = [&](TokenKind kind, std::size_t length) { return Token{kind, rest.substr(0, length), offset}; };
  if (is_letter(rest[0])) {
    std::size_t length = 1;
    while (length < rest.size() && (is_letter(rest[length]) || is_digit(rest[length]))) ++length;
    return token(TokenKind::identifier, length);
  }
  if (is_digit(rest[0])) {
    std::size_t length = 1;
    while (length < rest.size() && is_digit(rest[length])) ++length;
    return token(TokenKind::number, length);
  }
  if (rest[0] == '"') {
    if (const auto length = string_length(rest); length > 0) return token(TokenKind::string, length);
    return fail(Code::invalid_input, "the string that starts here has no end", source.where(offset));
  }
  if (const auto length = symbol_length(rest); length > 0) return token(TokenKind::symbol, length);
  const auto length = std::max<std::size_t>(utf8_length(rest), 1);
  return fail(Code::invalid_input, fmt::format("{} is not part of the policy language", quoted(rest.substr(0, length))),
              source.where(offset));
}

struct Escape {
  std::uint32_t code = 0;
  std::size_t length = 0;  ///< bytes after the backslash; 0 for an escape that does not exist
};

Escape hex_escape(std::string_view digits, std::size_t min, std::size_t max, std::uint32_t highest) {
  std::uint32_t code = 0;
  if (digits.size() < min || digits.size() > max) return {};
  for (const char c : digits) {
    const int digit = hex_digit(c);
    if (digit < 0) return {};
    code = code * 16 + static_cast<std::uint32_t>(digit);
  }
  if (code > highest || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, digits.size()};
}

/// The escape whose text after the backslash starts `rest`.
Escape escape_of(std::string_view rest) {
  switch (rest.empty() ? ' ' : rest[0]) {
    case 'n': return {'\n', 1};
    case 'r': return {'\r', 1};
    case 't': return {'\t', 1};
    case '0': return {0, 1};
    case '\\': return {'\\', 1};
    case '"': return {'"', 1};
    case '\'': return {'\'', 1};
    case 'x': {
      const auto escape = hex_escape(rest.substr(1, 2), 2, 2, 0x7f);
      return escape.length == 0 ? escape : Escape{escape.code, 3};
    }
    case 'u': {
      const auto close = rest.find('}');
      if (rest.size() < 2 || rest[1] != '{' || close == std::string_view::npos) return {};
      const auto escape = hex_escape(rest.substr(2, close - 2), 1, 6, 0x10ffff);
      return escape.length == 0 ? escape : Escape{escape.code, close + 1};
    }
    default: return {};
  }
}

}  // namespace

Result<std::vector<Token>> tokens_of(const Source& source) {
  if (source.text.size() > limits::policy_text_max_bytes) {
    return fail(Code::limit, "the policy text is too long", source.name,
                fmt::format("{} bytes, at most {}", source.text.size(), limits::policy_text_max_bytes), "split it");
  }
  const std::string_view text = source.text;
  for (std::size_t at = 0; at < text.size();) {
    const auto length = utf8_length(text.substr(at));
    if (length == 0) return fail(Code::invalid_input, "not UTF-8", source.where(static_cast<std::uint32_t>(at)));
    at += length;
  }
  std::vector<Token> tokens;
  std::uint32_t offset = 0;
  while (true) {
    while (offset < text.size()) {
      const auto length = blank_length(text.substr(offset));
      if (length == 0) break;
      offset += static_cast<std::uint32_t>(length);
    }
    if (offset >= text.size()) break;
    auto token = next_token(source, offset);
    if (!token) return fail(std::move(token.error()));
    assert(!token->text.empty());
    offset += static_cast<std::uint32_t>(token->text.size());
    tokens.push_back(*token);
  }
  tokens.push_back({TokenKind::end, {}, static_cast<std::uint32_t>(text.size())});
  return tokens;
}

Result<Unescaped> unescape(const Source& source, const Token& token, bool pattern) {
  assert(token.kind == TokenKind::string && token.text.size() >= 2);
  const auto body = token.text.substr(1, token.text.size() - 2);
  Unescaped out{{std::string{}}};
  for (std::size_t i = 0; i < body.size();) {
    if (pattern && body[i] == '*') {
      out.pieces.emplace_back();
      ++i;
    } else if (body[i] != '\\') {
      out.pieces.back() += body[i++];
    } else if (pattern && body.substr(i).starts_with("\\*")) {
      out.pieces.back() += '*';
      i += 2;
    } else {
      const auto escape = escape_of(body.substr(i + 1));
      if (escape.length == 0) {
        return fail(Code::invalid_input, "unknown escape in a string",
                    source.where(token.offset + 1 + static_cast<std::uint32_t>(i)), {},
                    R"(known are \n \r \t \0 \\ \" \' \x00..\x7f \u{...}, and \* after like)");
      }
      append_utf8(out.pieces.back(), escape.code);
      i += 1 + escape.length;
    }
  }
  return out;
}

}  // namespace epif::policy
