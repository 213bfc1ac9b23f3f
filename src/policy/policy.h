#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/expression.h"
#include "policy/source.h"
#include "policy/value.h"

/// Policies in the Cedar language (docs.cedarpolicy.com, language version 4). Pure: no I/O, no clock.
///
/// Covered: `permit`, `forbid`, scopes with ==, in, is; `when`, `unless`; all operators, sets, records, tags, and the
/// extension types ip, decimal, datetime and duration. Our addition: `@require("a,b")` on a permit names the attributes
/// that a node must have before the permitted data may move there. Whatever else, templates (`?principal`) included, is
/// an error with file, line and column. Annotations other than @id and @require are inert, as in Cedar.
namespace epif::policy {

enum class Effect { permit, forbid };

/// One of the three parts of a policy's head.
struct ScopePart {
  enum class Kind { any, equal, in, is, is_in };
  Kind kind = Kind::any;
  std::vector<EntityUid> entities{};  ///< equal, is_in: one; in: one, for actions also a list
  std::string type{};                 ///< is, is_in
};

struct Condition {
  bool when = true;  ///< false: unless
  Expression expression;
};

struct Policy {
  std::string id;  ///< @id, or `policyN` by position
  Effect effect = Effect::permit;
  ScopePart principal;
  ScopePart action;
  ScopePart resource;
  std::vector<Condition> conditions;
  std::vector<std::string> requires_attributes;  ///< @require, sorted, no duplicates
  std::shared_ptr<const Source> source;
  std::uint32_t offset = 0;  ///< of the word permit or forbid

  [[nodiscard]] std::string where() const { return source->where(offset); }
};

struct PolicySet {
  std::vector<Policy> policies;

  /// Takes the policies of `other`. `conflict`: an id that both have.
  [[nodiscard]] Result<> add(PolicySet other);
};

/// Reads a policy text. A policy without @id is called `prefix` + its position from 0.
/// Errors: `invalid_input` for text outside of the language, `limit` for text that is too long or too deeply nested,
/// `conflict` for two policies with one id; each with file:line:column and the construct.
[[nodiscard]] Result<PolicySet> parse_policies(Source source, std::string_view prefix = "policy");
/// The same for a whole file; `name` stands in messages.
[[nodiscard]] Result<PolicySet> parse_policies(std::string_view text, std::string_view name);

}  // namespace epif::policy
