#include "policy/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <set>

#include "base/limits.h"

namespace epif::policy {
namespace {

constexpr std::array<std::string_view, 4> variables = {"principal", "action", "resource", "context"};
constexpr std::array<std::string_view, 4> functions = {"ip", "decimal", "datetime", "duration"};
constexpr std::array<std::string_view, 24> methods = {
    "contains",        "containsAll",    "containsAny",        "isEmpty",     "hasTag",        "getTag",
    "isIpv4",          "isIpv6",         "isLoopback",         "isMulticast", "isInRange",     "lessThan",
    "lessThanOrEqual", "greaterThan",    "greaterThanOrEqual", "offset",      "durationSince", "toDate",
    "toTime",          "toMilliseconds", "toSeconds",          "toMinutes",   "toHours",       "toDays"};

template <std::size_t N>
bool among(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::optional<Op> relation_of(const Token& token) {
  if (token.is("==")) return Op::equal;
  if (token.is("!=")) return Op::unequal;
  if (token.is("<")) return Op::less;
  if (token.is("<=")) return Op::less_equal;
  if (token.is(">")) return Op::greater;
  if (token.is(">=")) return Op::greater_equal;
  if (token.is("in")) return Op::in;
  if (token.is("has")) return Op::has;
  if (token.is("like")) return Op::like;
  if (token.is("is")) return Op::is;
  return std::nullopt;
}

/// Recursive descent over the expression grammar. `nesting_` bounds the recursion.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  Expression expression() {
    if (++nesting_ > limits::policy_nesting) too_deep();
    auto result = tokens_.at("if") ? choice() : either();
    --nesting_;
    return result;
  }

 private:
  void too_deep() {
    tokens_.fail_at(tokens_.peek(), "the expression is nested too deeply", "split the policy", Code::limit);
  }

  /// Gives `node` its end and its depth.
  Expression finished(Expression node) {
    node.span.end = std::max(tokens_.end_of_last(), node.span.begin);
    for (const auto& operand : node.operands) node.depth = std::max(node.depth, operand.depth + 1);
    if (node.depth > limits::policy_expression_depth) too_deep();
    return node;
  }

  Expression node(Op op, std::uint32_t begin, std::vector<Expression> operands = {}, std::vector<std::string> names = {}) {
    return finished(Expression{op, {begin, begin}, 1, Value{}, std::move(names), std::move(operands)});
  }

  Expression literal(std::uint32_t begin, Value value) {
    return finished(Expression{Op::literal, {begin, begin}, 1, std::move(value)});
  }

  static std::vector<Expression> pair(Expression a, Expression b) {
    std::vector<Expression> both;
    both.reserve(2);
    both.push_back(std::move(a));
    both.push_back(std::move(b));
    return both;
  }

  Expression choice() {
    const auto begin = tokens_.next().offset;
    std::vector<Expression> parts;
    parts.push_back(expression());
    tokens_.expect("then");
    parts.push_back(expression());
    tokens_.expect("else");
    parts.push_back(expression());
    return node(Op::choice, begin, std::move(parts));
  }

  // `a || b || c` becomes one node with three operands: a long list stays shallow, and left to right is kept.
  Expression either() {
    auto first = both();
    if (!tokens_.at("||")) return first;
    const auto begin = first.span.begin;
    std::vector<Expression> operands;
    operands.push_back(std::move(first));
    while (tokens_.accept("||")) operands.push_back(both());
    return node(Op::either, begin, std::move(operands));
  }

  Expression both() {
    auto first = relation();
    if (!tokens_.at("&&")) return first;
    const auto begin = first.span.begin;
    std::vector<Expression> operands;
    operands.push_back(std::move(first));
    while (tokens_.accept("&&")) operands.push_back(relation());
    return node(Op::both, begin, std::move(operands));
  }

  Expression relation() {
    auto left = sum();
    const auto op = relation_of(tokens_.peek());
    if (!op) {
      if (tokens_.at("=")) tokens_.fail_at(tokens_.peek(), "`=` is not an operator", "write == to compare");
      return left;
    }
    tokens_.next();
    auto result = relation_with(std::move(left), *op);
    if (relation_of(tokens_.peek())) {
      tokens_.fail_at(tokens_.peek(), fmt::format("a second relation `{}` without parentheses", tokens_.peek().text),
                      "put one of the two in parentheses");
    }
    return result;
  }

  Expression relation_with(Expression left, Op op) {
    const auto begin = left.span.begin;
    std::vector<Expression> operands;
    operands.push_back(std::move(left));
    switch (op) {
      case Op::has: return node(op, begin, std::move(operands), attribute_path());
      case Op::like: return node(op, begin, std::move(operands), pattern());
      case Op::is: {
        std::vector<std::string> type{tokens_.path("an entity type after `is`")};
        if (tokens_.accept("in")) operands.push_back(sum());
        return node(op, begin, std::move(operands), std::move(type));
      }
      default: operands.push_back(sum()); return node(op, begin, std::move(operands));
    }
  }

  std::vector<std::string> attribute_path() {
    if (tokens_.at(TokenKind::string)) return {tokens_.string("an attribute name")};
    std::vector<std::string> path;
    do {
      path.push_back(tokens_.identifier("an attribute name after `has`"));
    } while (tokens_.accept("."));
    return path;
  }

  std::vector<std::string> pattern() {
    if (!tokens_.at(TokenKind::string)) {
      tokens_.unexpected("a string literal after `like`");
      return {};
    }
    auto text = unescape(tokens_.source(), tokens_.peek(), true);
    if (!text) {
      tokens_.fail_at(tokens_.peek(), text.error().what, text.error().advice);
      return {};
    }
    tokens_.next();
    return std::move(text->pieces);
  }

  Expression sum() {
    auto left = product();
    while (tokens_.at("+") || tokens_.at("-")) {
      const auto op = tokens_.next().is("+") ? Op::add : Op::subtract;
      const auto begin = left.span.begin;
      auto right = product();
      left = node(op, begin, pair(std::move(left), std::move(right)));
    }
    return left;
  }

  Expression product() {
    auto left = unary();
    while (tokens_.at("*") || tokens_.at("/") || tokens_.at("%")) {
      const auto token = tokens_.next();
      if (!token.is("*"))
        tokens_.fail_at(token, fmt::format("the operator `{}` is not part of the policy language", token.text));
      const auto begin = left.span.begin;
      auto right = unary();
      left = node(Op::multiply, begin, pair(std::move(left), std::move(right)));
    }
    return left;
  }

  // Cedar takes up to four equal signs in a row, and folds one `-` into a number: -9223372036854775808 is a literal.
  Expression unary() {
    const auto sign = tokens_.peek();
    if (!sign.is("!") && !sign.is("-")) return member();
    std::vector<std::uint32_t> offsets;
    while (tokens_.at(sign.text)) {
      if (offsets.size() == 4) tokens_.fail_at(tokens_.peek(), fmt::format("more than four `{}` in a row", sign.text));
      offsets.push_back(tokens_.next().offset);
    }
    const bool minus = sign.is("-");
    Expression inner;
    if (minus && tokens_.at(TokenKind::number) && !tokens_.peek(1).is(".") && !tokens_.peek(1).is("[")) {
      inner = number(true, offsets.back());
      offsets.pop_back();
    } else {
      inner = member();
    }
    for (auto at = offsets.rbegin(); at != offsets.rend(); ++at) {
      std::vector<Expression> operand;
      operand.push_back(std::move(inner));
      inner = node(minus ? Op::minus : Op::negation, *at, std::move(operand));
    }
    return inner;
  }

  Expression number(bool negative, std::uint32_t begin) {
    const auto token = tokens_.next();
    std::uint64_t magnitude = 0;
    const auto [end, status] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), magnitude);
    const auto highest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) + (negative ? 1 : 0);
    if (status != std::errc{} || magnitude > highest) {
      tokens_.fail_at(token, fmt::format("the number {} does not fit in 64 bits", token.text.substr(0, 40)));
      return {};
    }
    return literal(begin, Value(static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude)));
  }

  Expression member() {
    auto value = primary();
    while (true) {
      const auto begin = value.span.begin;
      if (tokens_.accept(".")) {
        value = tokens_.peek(1).is("(") ? method(std::move(value)) : attribute(std::move(value), begin);
      } else if (tokens_.accept("[")) {
        std::vector<std::string> name{tokens_.string("an attribute name in quotes between `[` and `]`")};
        tokens_.expect("]");
        std::vector<Expression> operand;
        operand.push_back(std::move(value));
        value = node(Op::attribute, begin, std::move(operand), std::move(name));
      } else {
        return value;
      }
    }
  }

  Expression attribute(Expression of, std::uint32_t begin) {
    std::vector<std::string> name{tokens_.identifier("an attribute name after `.`")};
    std::vector<Expression> operand;
    operand.push_back(std::move(of));
    return node(Op::attribute, begin, std::move(operand), std::move(name));
  }

  Expression method(Expression receiver) {
    const auto name = tokens_.next();
    if (!among(methods, name.text))
      tokens_.fail_at(name, fmt::format("`{}` is not a method of the policy language", name.text));
    const auto begin = receiver.span.begin;
    std::vector<Expression> operands;
    operands.push_back(std::move(receiver));
    tokens_.expect("(");
    list(")", operands);
    return node(Op::method, begin, std::move(operands), {std::string(name.text)});
  }

  /// Expressions with commas between them, up to and with `close`.
  void list(std::string_view close, std::vector<Expression>& into) {
    if (tokens_.accept(close)) return;
    do {
      into.push_back(expression());
    } while (tokens_.accept(","));
    tokens_.expect(close);
  }

  Expression primary() {
    const auto token = tokens_.peek();
    if (token.kind == TokenKind::number) return number(false, token.offset);
    if (token.kind == TokenKind::string) {
      auto text = tokens_.string("a string");
      return literal(token.offset, Value(std::move(text)));
    }
    if (token.is("true") || token.is("false")) {
      tokens_.next();
      return literal(token.offset, Value(token.is("true")));
    }
    if (tokens_.accept("(")) {
      auto inner = expression();
      tokens_.expect(")");
      inner.span = {token.offset, tokens_.end_of_last()};
      return inner;
    }
    if (tokens_.accept("[")) {
      std::vector<Expression> elements;
      list("]", elements);
      return node(Op::set, token.offset, std::move(elements));
    }
    if (tokens_.accept("{")) return record(token.offset);
    if (token.is("if")) {
      tokens_.fail_at(token, "`if` inside of an operator", "put it in parentheses");
      return {};
    }
    if (token.is("?")) {
      tokens_.fail_at(token, "templates are not supported: `?` and a slot name");
      return {};
    }
    if (token.kind == TokenKind::identifier) return name();
    tokens_.unexpected("an expression");
    return {};
  }

  Expression record(std::uint32_t begin) {
    std::vector<std::string> keys;
    std::set<std::string> seen;
    std::vector<Expression> values;
    if (!tokens_.accept("}")) {
      do {
        const auto token = tokens_.peek();
        auto key = token.kind == TokenKind::string ? tokens_.string("a key") : tokens_.identifier("a key of a record");
        if (!seen.insert(key).second) tokens_.fail_at(token, fmt::format("the key `{}` stands twice", key));
        tokens_.expect(":");
        keys.push_back(std::move(key));
        values.push_back(expression());
      } while (tokens_.accept(","));
      tokens_.expect("}");
    }
    return node(Op::record, begin, std::move(values), std::move(keys));
  }

  /// A variable, Type::"id", or a function call.
  Expression name() {
    const auto token = tokens_.peek();
    auto path = tokens_.path("a name");
    if (tokens_.accept("::")) {
      auto id = tokens_.string("the id of an entity in quotes after `::`");
      return literal(token.offset, Value(EntityUid{std::move(path), std::move(id)}));
    }
    if (tokens_.at("(")) {
      if (!among(functions, path)) {
        tokens_.fail_at(
            token,
            among(methods, path) ? fmt::format("`{}` is a method", path)
                                 : fmt::format("`{}` is not a function of the policy language", path),
            among(methods, path) ? fmt::format("write value.{}(...)", path) : "known are ip, decimal, datetime, duration");
      }
      tokens_.expect("(");
      std::vector<Expression> arguments;
      list(")", arguments);
      return node(Op::function, token.offset, std::move(arguments), {std::move(path)});
    }
    if (!among(variables, path)) {
      tokens_.fail_at(token, fmt::format("unknown name `{}`", path),
                      "known are principal, action, resource, context; an entity is written Type::\"id\"");
    }
    return node(Op::variable, token.offset, {}, {std::move(path)});
  }

  TokenStream& tokens_;
  std::uint32_t nesting_ = 0;
};

}  // namespace

Expression parse_expression(TokenStream& tokens) {
  return ExpressionParser(tokens).expression();
}

EntityUid parse_entity(TokenStream& tokens) {
  auto type = tokens.path("an entity such as Node::\"umc/modality\"");
  tokens.expect("::");
  auto id = tokens.string("the id of an entity in quotes after `::`");
  return {std::move(type), std::move(id)};
}

}  // namespace epif::policy
