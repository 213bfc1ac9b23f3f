#include "model/field_place.h"

#include <algorithm>
#include <charconv>

#include "model/tree.h"

namespace epif {
namespace {

/// The first step of a path, taken off: "flows", or "[0]".
std::string_view take_step(std::string_view& path) {
  if (path.starts_with('.')) path.remove_prefix(1);
  const auto end = std::min(path.find_first_of(".[", path.starts_with('[') ? 1 : 0), path.size());
  const auto step = path.substr(0, end);
  path.remove_prefix(end);
  return step;
}

const Tree* item_of(const Tree& sequence, std::string_view step) {
  std::size_t at = 0;
  const auto digits = step.substr(1, step.size() - 2);
  const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), at);
  const bool whole = bad == std::errc() && end == digits.data() + digits.size();
  return whole && at < sequence.items.size() ? &sequence.items[at] : nullptr;
}

const Tree* document_at(const std::vector<Tree>& documents, const Origin& place) {
  for (const auto& document : documents) {
    if (document.line == place.line && document.column == place.column) return &document;
    for (const auto& item : document.items) {
      if (item.line == place.line && item.column == place.column) return &item;
    }
  }
  return nullptr;
}

}  // namespace

std::optional<Subject> subject_of(const Error& error) {
  const std::string_view what = error.what;
  const auto name_begin = what.find(" '");
  if (name_begin == what.npos) return {};
  const auto word = what.substr(0, name_begin);
  const auto kind = std::ranges::find(all_kinds, word, [](Kind one) { return name(one); });
  const auto name_end = what.find("', ", name_begin + 2);
  const auto field_end = what.find(": ", name_begin + 2);
  if (kind == all_kinds.end() || name_end == what.npos || field_end == what.npos || field_end < name_end) return {};
  auto field = what.substr(name_end + 3, field_end - name_end - 3);
  if (const auto comma = field.rfind(", "); comma != field.npos) field.remove_prefix(comma + 2);
  return Subject{*kind, std::string(what.substr(name_begin + 2, name_end - name_begin - 2)), std::string(field)};
}

Origin field_place(std::string_view text, const Origin& document, std::string_view field) {
  auto place = document;
  const auto documents = parse_yaml(text, document.file);
  const auto* tree = documents ? document_at(*documents, document) : nullptr;
  while (tree != nullptr && !field.empty()) {
    const auto step = take_step(field);
    if (step.empty()) break;
    if (step.starts_with('[')) {
      tree = step.size() > 2 ? item_of(*tree, step) : nullptr;
      if (tree != nullptr) place.line = tree->line, place.column = tree->column;
      continue;
    }
    const auto entry = std::ranges::find(tree->entries, step, &Tree::Entry::key);
    tree = entry == tree->entries.end() ? nullptr : &entry->value;
    if (tree != nullptr) place.line = entry->line, place.column = entry->column;
  }
  return place;
}

}  // namespace epif
