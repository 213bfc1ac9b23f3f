#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "policy/source.h"
#include "policy/value.h"

namespace epif::policy {

/// What an expression does with its operands. Cedar reference guide, "Operators and functions".
enum class Op : std::uint8_t {
  literal,   ///< `value`
  variable,  ///< names[0]: principal, action, resource, context
  both,      ///< &&
  either,    ///< ||
  negation,  ///< !
  minus,     ///< unary -
  equal,
  unequal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  add,
  subtract,
  multiply,
  like,       ///< names: the texts between the wildcards
  is,         ///< names[0]: the entity type; a second operand is the ancestor of `is T in E`
  has,        ///< names: the path a.b.c
  attribute,  ///< names[0]
  choice,     ///< if, then, else
  set,
  record,    ///< names[i] is the key of operands[i]
  method,    ///< names[0]; operands[0] is the receiver
  function,  ///< names[0]: ip, decimal, datetime, duration
};

/// A node of the syntax tree. Depth is at most policy_expression_depth, so that recursion over it is safe.
struct Expression {
  Op op = Op::literal;
  Span span{};
  std::uint32_t depth = 1;
  Value value{};
  std::vector<std::string> names{};
  std::vector<Expression> operands{};
};

}  // namespace epif::policy
