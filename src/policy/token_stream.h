#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/lexer.h"

namespace epif::policy {

/// The tokens of one text, with the first error found. After an error the stream is at its end, so that every loop of a
/// parser over it stops; the parser returns whatever it holds and the caller looks at `error`.
class TokenStream {
 public:
  /// `source` outlives the stream; `tokens` end with an `end` token.
  TokenStream(const Source& source, std::vector<Token> tokens) : source_(source), tokens_(std::move(tokens)) {}

  [[nodiscard]] const Source& source() const { return source_; }
  [[nodiscard]] const Token& peek(std::size_t ahead = 0) const;
  Token next();
  [[nodiscard]] bool at(std::string_view symbol_or_word) const { return peek().is(symbol_or_word); }
  [[nodiscard]] bool at(TokenKind kind) const { return peek().kind == kind; }
  /// Takes the next token if it is this one.
  bool accept(std::string_view symbol_or_word);
  /// Takes this token or records that it was expected.
  void expect(std::string_view symbol_or_word);
  /// Byte offset behind the last token taken.
  [[nodiscard]] std::uint32_t end_of_last() const;

  [[nodiscard]] bool failed() const { return error_.has_value(); }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  void fail_at(const Token& token, std::string what, std::string advice = {}, Code code = Code::invalid_input);
  /// "expected `what`, found ..." at the next token.
  void unexpected(std::string_view what);

  /// The text of a string token without wildcards; takes it. Records an error when the next token is no string.
  std::string string(std::string_view what);
  /// A name that is not a reserved word; takes it.
  std::string identifier(std::string_view what);
  /// A::B::C with the first name already checked to be there.
  std::string path(std::string_view what);

 private:
  const Source& source_;
  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  std::optional<Error> error_;
};

}  // namespace epif::policy
