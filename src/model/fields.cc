#include "model/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/ip.h"

namespace epif {
namespace {

std::string_view kind_words(const Tree& tree) {
  switch (tree.kind) {
    case Tree::Kind::null: return "nothing";
    case Tree::Kind::scalar: return tree.quoted ? "text" : "a plain value";
    case Tree::Kind::sequence: return "a list";
    case Tree::Kind::map: return "a map";
  }
  return "nothing";
}

const Tree& absent_tree() {
  static const Tree absent;
  return absent;
}

}  // namespace

std::string Origin::text() const {
  if (line == 0) return file;
  if (column == 0) return fmt::format("{}:{}", file, line);
  return fmt::format("{}:{}:{}", file, line, column);
}

void Reading::refuse(int line, int column, std::string what, std::string why, std::string advice) {
  if (fault) return;
  fault = Error{Code::invalid_input, std::move(what), Origin{file, line, column}.text(), std::move(why), std::move(advice)};
}

void Field::refuse(const std::string& why, std::string advice) const {
  reading.refuse(tree ? tree->line : 0, tree ? tree->column : 0, path.empty() ? "the document" : path, why,
                 std::move(advice));
}

std::string Field::text() const {
  if (!tree) return {};
  if (tree->kind != Tree::Kind::scalar || (!tree->quoted && !reading.plain_is_text)) {
    refuse(fmt::format("text is wanted, not {}", kind_words(*tree)));
    return {};
  }
  return tree->scalar;
}

std::uint64_t Field::number(std::uint64_t least, std::uint64_t most) const {
  if (!tree) return 0;
  std::uint64_t value = 0;
  const auto& digits = tree->scalar;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = failure == std::errc{} && end == digits.data() + digits.size();
  if (tree->kind != Tree::Kind::scalar || tree->quoted || !whole || value < least || value > most) {
    const auto got = tree->kind == Tree::Kind::scalar ? "'" + digits + "'" : std::string(kind_words(*tree));
    refuse(fmt::format("a whole number from {} to {} is wanted, not {}", least, most, got));
    return least;
  }
  return value;
}

bool Field::boolean() const {
  if (!tree) return false;
  const bool plain = tree->kind == Tree::Kind::scalar && !tree->quoted;
  if (!plain || (tree->scalar != "true" && tree->scalar != "false")) refuse("true or false is wanted");
  return tree->scalar == "true";
}

std::vector<Field> Field::list() const {
  std::vector<Field> fields;
  if (!tree) return fields;
  if (tree->kind != Tree::Kind::sequence) {
    refuse(fmt::format("a list is wanted, not {}", kind_words(*tree)));
    return fields;
  }
  fields.reserve(tree->items.size());
  for (std::size_t at = 0; at < tree->items.size(); ++at) {
    fields.push_back({reading, &tree->items[at], fmt::format("{}[{}]", path, at)});
  }
  return fields;
}

std::vector<std::string> Field::texts() const {
  if (!tree) return {};
  if (tree->kind == Tree::Kind::scalar) return {text()};
  std::vector<std::string> values;
  for (const auto& field : list()) values.push_back(field.text());
  return values;
}

std::vector<std::pair<std::string, Field>> Field::map() const {
  std::vector<std::pair<std::string, Field>> fields;
  if (!tree) return fields;
  if (tree->kind != Tree::Kind::map) {
    refuse(fmt::format("a map is wanted, not {}", kind_words(*tree)));
    return fields;
  }
  std::vector<std::string_view> keys;
  keys.reserve(tree->entries.size());
  for (const auto& entry : tree->entries) {
    const auto below = path.empty() ? entry.key : path + "." + entry.key;
    fields.push_back({entry.key, Field{reading, &entry.value, below}});
    keys.push_back(entry.key);
  }
  std::ranges::sort(keys);
  const auto twice = std::ranges::adjacent_find(keys);
  if (twice == keys.end()) return fields;
  for (auto entry = tree->entries.rbegin(); entry != tree->entries.rend(); ++entry) {
    if (entry->key == *twice) {
      reading.refuse(entry->line, entry->column, fmt::format("field '{}' stands twice", entry->key), {}, "keep one");
      break;
    }
  }
  return fields;
}

Fields::Fields(const Field& map) : map_{map.reading, map.tree ? map.tree : &absent_tree(), map.path} {
  // Through map(), so that wrong types and repeated keys are found once, here.
  if (map.tree) (void)map.map();
}

Field Fields::get(std::string_view name) {
  asked_.push_back(name);
  const auto below = map_.path.empty() ? std::string(name) : fmt::format("{}.{}", map_.path, name);
  for (const auto& entry : map_.tree->entries) {
    if (entry.key == name && entry.value.kind != Tree::Kind::null) return {map_.reading, &entry.value, below};
  }
  return {map_.reading, nullptr, below};
}

Field Fields::required(std::string_view name) {
  auto field = get(name);
  if (!field) {
    map_.reading.refuse(map_.tree->line, map_.tree->column, fmt::format("{} is missing", field.path));
  }
  return field;
}

void Fields::done() {
  for (const auto& entry : map_.tree->entries) {
    if (std::ranges::find(asked_, entry.key) != asked_.end()) continue;
    std::string known;
    for (const auto name : asked_) known += (known.empty() ? "" : ", ") + std::string(name);
    const auto below = map_.path.empty() ? entry.key : map_.path + "." + entry.key;
    map_.reading.refuse(entry.line, entry.column, fmt::format("{} is not a known field", below), "known here: " + known);
    return;
  }
}

}  // namespace epif
