#pragma once
#include "policy/expression.h"
#include "policy/token_stream.h"

namespace epif::policy {

/// Reads one expression, with Cedar's precedence: if, ||, &&, relations (not associative), + -, *, unary ! -, access.
/// On an error the stream holds it and the value returned means nothing.
[[nodiscard]] Expression parse_expression(TokenStream& tokens);

/// Reads `Type::"id"`.
[[nodiscard]] EntityUid parse_entity(TokenStream& tokens);

}  // namespace epif::policy
