#include "policy/entities.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <set>

#include "policy/json_value.h"

namespace epif::policy {
namespace json = boost::json;

namespace {

Result<Entity> entity_from_json(const json::value& value, std::string_view name, std::size_t position) {
  const auto place = fmt::format("{}: entity {}", name, position);
  const auto* object = value.if_object();
  const auto* uid = object == nullptr ? nullptr : object->if_contains("uid");
  if (uid == nullptr) return fail(Code::invalid_input, "an entity needs a uid", place);
  auto own = uid_from_json(*uid, place + ".uid");
  if (!own) return fail(std::move(own.error()));
  const auto where = fmt::format("{}: {}", name, own->text());
  auto attributes = record_from_json(object->if_contains("attrs"), where + ".attrs");
  if (!attributes) return fail(std::move(attributes.error()));
  auto tags = record_from_json(object->if_contains("tags"), where + ".tags");
  if (!tags) return fail(std::move(tags.error()));
  Entity entity{std::move(*own), std::move(*attributes), std::move(*tags), {}};
  if (const auto* parents = object->if_contains("parents")) {
    if (!parents->is_array()) return fail(Code::invalid_input, "not a list", where + ".parents");
    for (const auto& parent : parents->get_array()) {
      auto parent_uid = uid_from_json(parent, where + ".parents");
      if (!parent_uid) return fail(std::move(parent_uid.error()));
      entity.parents.push_back(std::move(*parent_uid));
    }
  }
  return entity;
}

/// An entity that is its own ancestor, if there is one. Kahn's algorithm, from the children up: no recursion.
const EntityUid* on_a_cycle(const std::map<EntityUid, Entity>& entities) {
  std::map<EntityUid, std::size_t> children;
  for (const auto& [uid, entity] : entities) {
    children.try_emplace(uid, 0);
    for (const auto& parent : entity.parents) ++children[parent];
  }
  std::vector<const EntityUid*> ready;
  for (const auto& [uid, count] : children) {
    if (count == 0) ready.push_back(&uid);
  }
  std::size_t done = 0;
  while (!ready.empty()) {
    const auto* uid = ready.back();
    ready.pop_back();
    ++done;
    const auto entity = entities.find(*uid);
    if (entity == entities.end()) continue;
    for (const auto& parent : entity->second.parents) {
      const auto at = children.find(parent);
      if (--at->second == 0) ready.push_back(&at->first);
    }
  }
  if (done == children.size()) return nullptr;
  for (const auto& [uid, entity] : entities) {
    if (children.at(uid) > 0) return &uid;
  }
  return nullptr;
}

}  // namespace

Result<Entities> Entities::parse(std::string_view text, std::string_view name) {
  auto document = parse_json(text, name);
  if (!document) return fail(std::move(document.error()));
  if (!document->is_array()) return fail(Code::invalid_input, "not a list of entities", std::string(name));
  Entities entities;
  std::size_t position = 0;
  for (const auto& item : document->get_array()) {
    auto entity = entity_from_json(item, name, position++);
    if (!entity) return fail(std::move(entity.error()));
    auto added = entities.add(std::move(*entity));
    if (!added) {
      added.error().where = name;
      return fail(std::move(added.error()));
    }
  }
  if (const auto* uid = on_a_cycle(entities.entities_)) {
    return fail(Code::cycle, fmt::format("{} is its own ancestor, or below one that is", uid->text()), std::string(name));
  }
  return entities;
}

Result<> Entities::add(Entity entity) {
  auto uid = entity.uid;
  const auto [at, fresh] = entities_.try_emplace(std::move(uid), std::move(entity));
  if (!fresh) return fail(Code::conflict, fmt::format("the entity {} stands twice", at->first.text()));
  return {};
}

const Entity* Entities::find(const EntityUid& uid) const {
  const auto at = entities_.find(uid);
  return at == entities_.end() ? nullptr : &at->second;
}

bool Entities::is_in(const EntityUid& uid, std::span<const EntityUid> targets) const {
  if (targets.empty()) return false;
  const std::set<EntityUid> wanted(targets.begin(), targets.end());
  std::set<EntityUid> seen{uid};
  std::vector<const EntityUid*> open{&uid};
  while (!open.empty()) {
    const auto* current = open.back();
    open.pop_back();
    if (wanted.contains(*current)) return true;
    const auto* entity = find(*current);
    if (entity == nullptr) continue;
    for (const auto& parent : entity->parents) {
      if (seen.insert(parent).second) open.push_back(&parent);
    }
  }
  return false;
}

}  // namespace epif::policy
