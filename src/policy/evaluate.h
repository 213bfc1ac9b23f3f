#pragma once
#include "base/error.h"
#include "policy/entities.h"
#include "policy/expression.h"
#include "policy/request.h"
#include "policy/source.h"
#include "policy/value.h"

namespace epif::policy {

/// What an expression is evaluated against. Holds references: lives shorter than all three.
struct Environment {
  const Entities& entities;
  const Request& request;
  const Source& source;  ///< of the expression, for the place in messages
};

/// The value of `expression`. Errors (`invalid_input`, with file:line:column): a missing attribute, tag or entity, a value
/// of the wrong type, overflow of 64 bits, malformed text given to ip(), decimal(), datetime() or duration(). As in Cedar,
/// && and || do not look at the right side when the left decides, and == of different types is false.
[[nodiscard]] Result<Value> evaluate(const Expression& expression, const Environment& environment);

/// The same where a bool is needed; any other value is an error.
[[nodiscard]] Result<bool> evaluate_bool(const Expression& expression, const Environment& environment);

}  // namespace epif::policy
