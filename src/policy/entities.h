#pragma once
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/value.h"

namespace epif::policy {

struct Entity {
  EntityUid uid;
  Record attributes;
  Record tags;
  std::vector<EntityUid> parents;
};

/// What is known about principals, actions and resources: attributes and the hierarchy that `in` asks about.
class Entities {
 public:
  /// Cedar's JSON entity format: a list of {"uid": {"type","id"}, "attrs": {}, "parents": [], "tags": {}} with the escapes
  /// {"__entity": {"type","id"}} and {"__extn": {"fn","arg"|"args"}} in values. `name` stands in messages.
  /// Errors: `invalid_input`; `conflict` for one uid twice; `cycle` for an entity that is its own ancestor.
  [[nodiscard]] static Result<Entities> parse(std::string_view json, std::string_view name);

  /// `conflict` when the uid is there already. Cycles are not looked for here; they are harmless to `is_in`.
  [[nodiscard]] Result<> add(Entity entity);
  [[nodiscard]] const Entity* find(const EntityUid& uid) const;
  /// Whether `uid` is one of `targets` or has one of them as an ancestor. An entity that is not known has no ancestors.
  [[nodiscard]] bool is_in(const EntityUid& uid, std::span<const EntityUid> targets) const;
  [[nodiscard]] std::size_t size() const { return entities_.size(); }

 private:
  std::map<EntityUid, Entity> entities_;
};

}  // namespace epif::policy
