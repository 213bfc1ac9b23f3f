#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/source.h"

namespace epif::policy {

enum class TokenKind { identifier, string, number, symbol, end };

/// `text` views the source; a string token includes its quotes. The last token is `end`, with empty text.
struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;
  std::uint32_t offset = 0;

  [[nodiscard]] bool is(std::string_view symbol_or_word) const {
    return kind != TokenKind::string && kind != TokenKind::end && text == symbol_or_word;
  }
};

/// Cuts a policy text into tokens (Cedar grammar, "Lexical"). Errors (`invalid_input`, with file:line:column): bytes that
/// are not UTF-8, a character outside of the language, a string without end. `limit`: text over policy_text_max_bytes.
[[nodiscard]] Result<std::vector<Token>> tokens_of(const Source& source);

/// One piece of a string literal with `*` wildcards, for `like`.
struct Unescaped {
  std::vector<std::string> pieces;  ///< the text between the wildcards; one piece when there is none
};

/// The text that a string token stands for. With `pattern`, a bare `*` is a wildcard and `\*` a star; without, `*` is
/// itself and `\*` an error. Escapes: \n \r \t \0 \\ \" \' \xHH (up to 7f) \u{H..HHHHHH}.
[[nodiscard]] Result<Unescaped> unescape(const Source& source, const Token& token, bool pattern);

}  // namespace epif::policy
