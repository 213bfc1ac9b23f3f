#include "policy/token_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "policy/value.h"

namespace epif::policy {
namespace {

constexpr std::array<std::string_view, 10> reserved = {"true", "false", "if",   "then", "else",
                                                       "in",   "is",    "like", "has",  "__cedar"};

std::string described(const Token& token) {
  return token.kind == TokenKind::end ? "the end of the text" : fmt::format("`{}`", token.text.substr(0, 80));
}

}  // namespace

const Token& TokenStream::peek(std::size_t ahead) const {
  return tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
}

Token TokenStream::next() {
  const Token token = peek();
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool TokenStream::accept(std::string_view symbol_or_word) {
  if (!at(symbol_or_word)) return false;
  next();
  return true;
}

void TokenStream::expect(std::string_view symbol_or_word) {
  if (!accept(symbol_or_word)) unexpected(fmt::format("`{}`", symbol_or_word));
}

std::uint32_t TokenStream::end_of_last() const {
  if (position_ == 0) return 0;
  const auto& last = tokens_[position_ - 1];
  return last.offset + static_cast<std::uint32_t>(last.text.size());
}

void TokenStream::fail_at(const Token& token, std::string what, std::string advice, Code code) {
  if (!error_) error_ = Error{code, std::move(what), source_.where(token.offset), {}, std::move(advice)};
  position_ = tokens_.size() - 1;
}

void TokenStream::unexpected(std::string_view what) {
  fail_at(peek(), fmt::format("expected {}, found {}", what, described(peek())));
}

std::string TokenStream::string(std::string_view what) {
  if (!at(TokenKind::string)) {
    unexpected(what);
    return {};
  }
  auto text = unescape(source_, peek(), false);
  if (!text) {
    if (!error_) error_ = std::move(text.error());
    position_ = tokens_.size() - 1;
    return {};
  }
  next();
  return std::move(text->pieces.front());
}

std::string TokenStream::identifier(std::string_view what) {
  if (!at(TokenKind::identifier)) {
    unexpected(what);
    return {};
  }
  if (std::ranges::find(reserved, peek().text) != reserved.end()) {
    fail_at(peek(), fmt::format("`{}` is a reserved word and cannot be {}", peek().text, what));
    return {};
  }
  return std::string(next().text);
}

std::string TokenStream::path(std::string_view what) {
  auto text = identifier(what);
  while (at("::") && peek(1).kind == TokenKind::identifier) {
    next();
    text += "::" + identifier(what);
  }
  return text;
}

}  // namespace epif::policy
