#include "policy/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "policy/extension.h"

namespace epif::policy {
namespace {

/// Greedy match of `text` against pieces with a wildcard between each two; linear for each piece.
bool like(std::string_view text, const std::vector<std::string>& pieces) {
  assert(!pieces.empty());
  if (pieces.size() == 1) return text == pieces.front();
  if (!text.starts_with(pieces.front())) return false;
  text.remove_prefix(pieces.front().size());
  for (std::size_t i = 1; i + 1 < pieces.size(); ++i) {
    const auto at = text.find(pieces[i]);
    if (at == std::string_view::npos) return false;
    text.remove_prefix(at + pieces[i].size());
  }
  return text.ends_with(pieces.back());
}

class Evaluation {
 public:
  explicit Evaluation(const Environment& environment) : environment_(environment) {}

  Result<Value> value(const Expression& e) const {
    switch (e.op) {
      case Op::literal: return e.value;
      case Op::variable: return variable(e.names[0]);
      case Op::both:
      case Op::either: return junction(e);
      case Op::negation: {
        const auto operand = as<bool>(e.operands[0], "bool");
        if (!operand) return fail(operand.error());
        return Value(!*operand);
      }
      case Op::minus: return negated(e);
      case Op::equal:
      case Op::unequal: return equality(e);
      case Op::less:
      case Op::less_equal:
      case Op::greater:
      case Op::greater_equal: return comparison(e);
      case Op::in: return membership(e);
      case Op::add:
      case Op::subtract:
      case Op::multiply: return arithmetic(e);
      case Op::like: {
        const auto text = as<std::string>(e.operands[0], "string");
        if (!text) return fail(text.error());
        return Value(like(*text, e.names));
      }
      case Op::is: return is(e);
      case Op::has: return has(e);
      case Op::attribute: return attribute(e);
      case Op::choice: {
        const auto condition = as<bool>(e.operands[0], "bool");
        if (!condition) return fail(condition.error());
        return value(e.operands[*condition ? 1 : 2]);
      }
      case Op::set: {
        auto elements = all(e.operands);
        if (!elements) return fail(std::move(elements.error()));
        return Value::set(std::move(*elements));
      }
      case Op::record: return record(e);
      case Op::method: return method(e);
      case Op::function: return function(e);
    }
    assert(false);
    return error(e, "unknown operation");
  }

  template <class T>
  Result<T> as(const Expression& e, std::string_view type) const {
    auto result = value(e);
    if (!result) return fail(std::move(result.error()));
    if (const auto* held = result->get<T>()) return *held;
    return wrong_type(e, type, *result);
  }

 private:
  std::unexpected<Error> error(const Expression& e, std::string what) const {
    return fail(Code::invalid_input, std::move(what), environment_.source.where(e.span.begin));
  }

  std::unexpected<Error> wrong_type(const Expression& e, std::string_view expected, const Value& found) const {
    return error(e, fmt::format("`{}` should be of type {} and is of type {}", environment_.source.excerpt(e.span), expected,
                                found.type_name()));
  }

  Value variable(std::string_view name) const {
    if (name == "principal") return Value(environment_.request.principal);
    if (name == "action") return Value(environment_.request.action);
    if (name == "resource") return Value(environment_.request.resource);
    assert(name == "context");
    return environment_.request.context;
  }

  Result<std::vector<Value>> all(const std::vector<Expression>& expressions) const {
    std::vector<Value> values;
    values.reserve(expressions.size());
    for (const auto& e : expressions) {
      auto result = value(e);
      if (!result) return fail(std::move(result.error()));
      values.push_back(std::move(*result));
    }
    return values;
  }

  Result<Value> junction(const Expression& e) const {
    const bool decisive = e.op == Op::either;  // true ends ||, false ends &&
    for (const auto& operand : e.operands) {
      const auto part = as<bool>(operand, "bool");
      if (!part) return fail(part.error());
      if (*part == decisive) return Value(decisive);
    }
    return Value(!decisive);
  }

  Result<Value> equality(const Expression& e) const {
    const auto both = all(e.operands);
    if (!both) return fail(both.error());
    return Value(((*both)[0] == (*both)[1]) == (e.op == Op::equal));
  }

  Result<Value> negated(const Expression& e) const {
    const auto operand = as<std::int64_t>(e.operands[0], "long");
    if (!operand) return fail(operand.error());
    std::int64_t result = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, *operand, &result)) return error(e, "the result does not fit in 64 bits");
    return Value(result);
  }

  Result<Value> arithmetic(const Expression& e) const {
    const auto a = as<std::int64_t>(e.operands[0], "long");
    if (!a) return fail(a.error());
    const auto b = as<std::int64_t>(e.operands[1], "long");
    if (!b) return fail(b.error());
    std::int64_t result = 0;
    const bool overflow = e.op == Op::add        ? __builtin_add_overflow(*a, *b, &result)
                          : e.op == Op::subtract ? __builtin_sub_overflow(*a, *b, &result)
                                                 : __builtin_mul_overflow(*a, *b, &result);
    if (overflow) return error(e, "the result does not fit in 64 bits");
    return Value(result);
  }

  Result<Value> comparison(const Expression& e) const {
    const auto both = all(e.operands);
    if (!both) return fail(both.error());
    const auto& a = (*both)[0];
    const auto& b = (*both)[1];
    const bool ordered = a.get<std::int64_t>() != nullptr || a.get<Datetime>() != nullptr || a.get<Duration>() != nullptr;
    if (!ordered) return wrong_type(e.operands[0], "long, datetime or duration", a);
    if (a.type_name() != b.type_name()) return wrong_type(e.operands[1], a.type_name(), b);
    switch (e.op) {
      case Op::less: return Value((a <=> b) < 0);
      case Op::less_equal: return Value((a <=> b) <= 0);
      case Op::greater: return Value((a <=> b) > 0);
      default: return Value((a <=> b) >= 0);
    }
  }

  Result<bool> is_in(const EntityUid& uid, const Expression& ancestors) const {
    const auto result = value(ancestors);
    if (!result) return fail(result.error());
    if (const auto* one = result->get<EntityUid>()) return environment_.entities.is_in(uid, {one, 1});
    const auto* set = result->get<Set>();
    if (set == nullptr) return wrong_type(ancestors, "entity or a set of entities", *result);
    std::vector<EntityUid> targets;
    for (const auto& element : *set) {
      const auto* target = element.get<EntityUid>();
      if (target == nullptr) return wrong_type(ancestors, "set of entities only", element);
      targets.push_back(*target);
    }
    return environment_.entities.is_in(uid, targets);
  }

  Result<Value> membership(const Expression& e) const {
    const auto uid = as<EntityUid>(e.operands[0], "entity");
    if (!uid) return fail(uid.error());
    const auto result = is_in(*uid, e.operands[1]);
    if (!result) return fail(result.error());
    return Value(*result);
  }

  Result<Value> is(const Expression& e) const {
    const auto uid = as<EntityUid>(e.operands[0], "entity");
    if (!uid) return fail(uid.error());
    if (uid->type != e.names[0]) return Value(false);
    if (e.operands.size() == 1) return Value(true);
    const auto result = is_in(*uid, e.operands[1]);
    if (!result) return fail(result.error());
    return Value(*result);
  }

  /// The fields of a record or entity; nullptr for an entity that is not known; an error for any other value.
  Result<const Record*> fields(const Expression& e, const Value& of) const {
    if (const auto* fields = of.get<Record>()) return fields;
    const auto* uid = of.get<EntityUid>();
    if (uid == nullptr) return wrong_type(e, "record or entity", of);
    const auto* entity = environment_.entities.find(*uid);
    return entity == nullptr ? nullptr : &entity->attributes;
  }

  Result<Value> has(const Expression& e) const {
    auto current = value(e.operands[0]);
    if (!current) return current;
    for (const auto& name : e.names) {
      const auto held = fields(e.operands[0], *current);
      if (!held) return fail(held.error());
      if (*held == nullptr) return Value(false);
      const auto at = (*held)->find(name);
      if (at == (*held)->end()) return Value(false);
      current = Value(at->second);
    }
    return Value(true);
  }

  Result<Value> attribute(const Expression& e) const {
    const auto of = value(e.operands[0]);
    if (!of) return of;
    const auto held = fields(e.operands[0], *of);
    if (!held) return fail(held.error());
    if (*held == nullptr) return error(e, fmt::format("the entity {} is not known", of->text()));
    const auto at = (*held)->find(e.names[0]);
    if (at == (*held)->end()) {
      return error(
          e, fmt::format("`{}` has no attribute {}", environment_.source.excerpt(e.operands[0].span), quoted(e.names[0])));
    }
    return at->second;
  }

  Result<Value> record(const Expression& e) const {
    Record result;
    for (std::size_t i = 0; i < e.operands.size(); ++i) {
      auto field = value(e.operands[i]);
      if (!field) return field;
      result.emplace(e.names[i], std::move(*field));
    }
    return Value::record(std::move(result));
  }

  Result<Value> function(const Expression& e) const {
    const auto arguments = all(e.operands);
    if (!arguments) return fail(arguments.error());
    auto result = call_extension(e.names[0], *arguments);
    if (!result) return error(e, result.error().text());
    return result;
  }

  Result<Value> method(const Expression& e) const {
    const auto& name = e.names[0];
    if (name == "contains" || name == "containsAll" || name == "containsAny" || name == "isEmpty") return set_method(e);
    if (name == "hasTag" || name == "getTag") return tag_method(e);
    return function(e);
  }

  Result<Value> set_method(const Expression& e) const {
    const auto& name = e.names[0];
    const std::size_t expected = name == "isEmpty" ? 1 : 2;
    if (e.operands.size() != expected)
      return error(e, fmt::format("{} takes {} value(s) in its parentheses", name, expected - 1));
    const auto values = all(e.operands);
    if (!values) return fail(values.error());
    const auto* receiver = (*values)[0].get<Set>();
    if (receiver == nullptr) return wrong_type(e.operands[0], "set", (*values)[0]);
    if (name == "isEmpty") return Value(receiver->empty());
    if (name == "contains") return Value(contains(*receiver, (*values)[1]));
    const auto* other = (*values)[1].get<Set>();
    if (other == nullptr) return wrong_type(e.operands[1], "set", (*values)[1]);
    if (name == "containsAll") return Value(std::ranges::includes(*receiver, *other));
    return Value(std::ranges::any_of(*other, [&](const Value& element) { return contains(*receiver, element); }));
  }

  Result<Value> tag_method(const Expression& e) const {
    if (e.operands.size() != 2) return error(e, fmt::format("{} takes one value in its parentheses", e.names[0]));
    const auto uid = as<EntityUid>(e.operands[0], "entity");
    if (!uid) return fail(uid.error());
    const auto tag = as<std::string>(e.operands[1], "string");
    if (!tag) return fail(tag.error());
    const auto* entity = environment_.entities.find(*uid);
    const auto* found = static_cast<const Value*>(nullptr);
    if (entity != nullptr) {
      if (const auto at = entity->tags.find(*tag); at != entity->tags.end()) found = &at->second;
    }
    if (e.names[0] == "hasTag") return Value(found != nullptr);
    if (found == nullptr) return error(e, fmt::format("{} has no tag {}", uid->text(), quoted(*tag)));
    return *found;
  }

  const Environment& environment_;
};

}  // namespace

Result<Value> evaluate(const Expression& expression, const Environment& environment) {
  return Evaluation(environment).value(expression);
}

Result<bool> evaluate_bool(const Expression& expression, const Environment& environment) {
  return Evaluation(environment).as<bool>(expression, "bool");
}

}  // namespace epif::policy
