#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "policy/expression_parser.h"
#include "policy/policy.h"
#include "policy/token_stream.h"

namespace epif::policy {
namespace {

/// The number of single-character edits between two short words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

class PolicyParser {
 public:
  PolicyParser(TokenStream& tokens, std::shared_ptr<const Source> source) : tokens_(tokens), source_(std::move(source)) {}

  Policy policy(std::string id) {
    Policy policy;
    policy.id = std::move(id);
    policy.source = source_;
    annotations(policy);
    head(policy);
    while (tokens_.at("when") || tokens_.at("unless")) policy.conditions.push_back(condition());
    if (!tokens_.accept(";")) tokens_.unexpected("`when`, `unless` or `;`");
    return policy;
  }

 private:
  void annotations(Policy& policy) {
    std::set<std::string, std::less<>> seen;
    while (tokens_.accept("@")) {
      const auto token = tokens_.peek();
      if (token.kind != TokenKind::identifier) return tokens_.unexpected("the name of an annotation after `@`");
      tokens_.next();
      if (!seen.emplace(token.text).second) return tokens_.fail_at(token, fmt::format("@{} stands twice", token.text));
      std::string value;
      auto value_token = token;
      if (tokens_.accept("(")) {
        value_token = tokens_.peek();
        value = tokens_.string("the value of the annotation in quotes");
        tokens_.expect(")");
      }
      if (token.is("id")) {
        if (value.empty()) return tokens_.fail_at(value_token, "@id is empty");
        policy.id = std::move(value);
      } else if (token.is("require")) {
        require_token_ = token;
        policy.requires_attributes = required(value_token, value);
      } else if (token.text.size() < 16 && edit_distance(token.text, "require") <= 2) {
        // An obligation lost to a typing error would let data out, so this one is not inert.
        return tokens_.fail_at(token, fmt::format("@{} is not known", token.text), "write @require");
      }
    }
  }

  std::vector<std::string> required(const Token& token, std::string_view list) {
    std::set<std::string> names;
    while (true) {
      const auto comma = list.find(',');
      auto name = list.substr(0, comma);
      while (name.starts_with(' ')) name.remove_prefix(1);
      while (name.ends_with(' ')) name.remove_suffix(1);
      if (name.empty())
        tokens_.fail_at(token, "@require holds an empty attribute name", "write @require(\"audit,encryption\")");
      names.emplace(name);
      if (comma == std::string_view::npos) break;
      list.remove_prefix(comma + 1);
    }
    return {names.begin(), names.end()};
  }

  void head(Policy& policy) {
    const auto effect = tokens_.peek();
    policy.offset = effect.offset;
    if (!effect.is("permit") && !effect.is("forbid")) return tokens_.unexpected("`permit` or `forbid`");
    policy.effect = effect.is("permit") ? Effect::permit : Effect::forbid;
    if (policy.effect == Effect::forbid && !policy.requires_attributes.empty()) {
      return tokens_.fail_at(require_token_, "@require stands on a forbid", "only a permit can require attributes");
    }
    tokens_.next();
    tokens_.expect("(");
    policy.principal = scope_part("principal");
    tokens_.expect(",");
    policy.action = scope_part("action");
    tokens_.expect(",");
    policy.resource = scope_part("resource");
    tokens_.expect(")");
  }

  ScopePart scope_part(std::string_view variable) {
    using Kind = ScopePart::Kind;
    const bool action = variable == "action";
    if (!tokens_.accept(variable)) {
      tokens_.unexpected(fmt::format("`{}`", variable));
      return {};
    }
    if (tokens_.accept("==")) return {Kind::equal, {entity(action)}, {}};
    if (tokens_.accept("in")) return {Kind::in, action && tokens_.at("[") ? action_list() : std::vector{entity(action)}, {}};
    if (tokens_.at("is")) {
      if (action) tokens_.fail_at(tokens_.peek(), "`is` on the action of a head");
      tokens_.next();
      auto type = tokens_.path("an entity type after `is`");
      if (tokens_.accept("in")) return {Kind::is_in, {entity(false)}, std::move(type)};
      return {Kind::is, {}, std::move(type)};
    }
    if (!tokens_.at(",") && !tokens_.at(")")) {
      tokens_.fail_at(tokens_.peek(), fmt::format("`{}` in the head of a policy", tokens_.peek().text.substr(0, 80)),
                      fmt::format("after {} stand ==, in or is; other conditions go into when {{ ... }}", variable));
    }
    return {};
  }

  EntityUid entity(bool action) {
    const auto token = tokens_.peek();
    if (token.is("?")) tokens_.fail_at(token, "templates are not supported: `?` and a slot name", "name the entity");
    if (token.is("["))
      tokens_.fail_at(token, "a list after `in` is only possible for the action", "use when { principal in [...] }");
    auto uid = parse_entity(tokens_);
    const bool is_action = uid.type == "Action" || uid.type.ends_with("::Action");
    if (action && !is_action && !tokens_.failed()) {
      tokens_.fail_at(token, fmt::format("{} is not an action", uid.text()), "write Action::\"...\"");
    }
    return uid;
  }

  std::vector<EntityUid> action_list() {
    tokens_.expect("[");
    std::vector<EntityUid> actions;
    if (tokens_.accept("]")) return actions;
    do {
      actions.push_back(entity(true));
    } while (tokens_.accept(","));
    tokens_.expect("]");
    return actions;
  }

  Condition condition() {
    const bool when = tokens_.next().is("when");
    tokens_.expect("{");
    auto expression = parse_expression(tokens_);
    tokens_.expect("}");
    return {when, std::move(expression)};
  }

  TokenStream& tokens_;
  std::shared_ptr<const Source> source_;
  Token require_token_{};
};

}  // namespace

Result<PolicySet> parse_policies(std::string_view text, std::string_view name) {
  return parse_policies(Source{std::string(name), std::string(text)});
}

Result<PolicySet> parse_policies(Source text, std::string_view prefix) {
  const auto source = std::make_shared<const Source>(std::move(text));
  auto cut = tokens_of(*source);
  if (!cut) return fail(std::move(cut.error()));
  TokenStream tokens(*source, std::move(*cut));
  PolicySet set;
  std::map<std::string, std::string> where_by_id;
  while (!tokens.at(TokenKind::end)) {
    PolicyParser parser(tokens, source);
    auto policy = parser.policy(fmt::format("{}{}", prefix, set.policies.size()));
    if (tokens.failed()) break;
    const auto [known, fresh] = where_by_id.emplace(policy.id, policy.where());
    if (!fresh) {
      return fail(Code::conflict, fmt::format("two policies have the id {}", quoted(policy.id)), policy.where(),
                  "the first is at " + known->second);
    }
    set.policies.push_back(std::move(policy));
  }
  if (tokens.failed()) return fail(*tokens.error());
  return set;
}

Result<> PolicySet::add(PolicySet other) {
  std::map<std::string_view, const Policy*> known;
  for (const auto& policy : policies) known.emplace(policy.id, &policy);
  for (const auto& policy : other.policies) {
    if (const auto twin = known.find(policy.id); twin != known.end()) {
      return fail(Code::conflict, fmt::format("two policies have the id {}", quoted(policy.id)), policy.where(),
                  "the other is at " + twin->second->where());
    }
  }
  policies.insert(policies.end(), std::make_move_iterator(other.policies.begin()),
                  std::make_move_iterator(other.policies.end()));
  return {};
}

}  // namespace epif::policy
