#include "planner/misspelling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>

#include "base/limits.h"
#include "base/spelling.h"

namespace epif::planner {
namespace {

/// Where an attribute stands.
struct Use {
  std::size_t places = 0;
  std::string first;  ///< resource and place, for people
};

std::string place(std::string_view kind, const Metadata& metadata) {
  const auto origin = metadata.origin.text();
  return fmt::format("{} '{}'{}", kind, metadata.full_name(), origin.empty() ? "" : " (" + origin + ")");
}

bool is_word_part(char letter) { return std::isalpha(static_cast<unsigned char>(letter)) != 0; }

/// The word with digits and parts of one letter blanked: what is equal then differs on purpose.
std::string without_numbers(std::string_view word) {
  std::string plain;
  for (std::size_t at = 0; at < word.size(); ++at) {
    const bool alone = is_word_part(word[at]) && (at == 0 || !is_word_part(word[at - 1])) && (at + 1 == word.size() || !is_word_part(word[at + 1]));
    const bool digit = std::isdigit(static_cast<unsigned char>(word[at])) != 0;
    if (!digit) plain += alone ? '.' : word[at];
  }
  return plain;
}

bool looks_misspelt(std::string_view word, std::string_view other) {
  constexpr std::size_t shortest = 4;  // of fewer letters, too many words are near by chance
  return std::min(word.size(), other.size()) >= shortest && is_near(word, other) && without_numbers(word) != without_numbers(other);
}

std::map<std::string_view, Use> count_uses(const ResourceSet& resources, const std::vector<Area>& areas) {
  std::map<std::string_view, Use> uses;
  const auto add = [&](const AttributeSet& attributes, std::size_t places, const auto& say) {
    for (const auto& attribute : attributes) {
      auto& use = uses[attribute];
      if (use.places == 0 && places == 1) use.first = say();
      use.places += places;
    }
  };
  for (const auto& area : areas) {
    add(area.attributes, area.nodes.size(), [&] { return place("Node", resources.nodes.at(area.nodes.front()).metadata); });
  }
  for (const auto& [full_name, function] : resources.functions) {
    add(function.provides, 1, [&] { return place("BridgingFunction", function.metadata); });
  }
  // Whoever lists an attribute says that it is meant: never a typo.
  for (const auto& [full_name, listed] : resources.attributes) add(listed.attributes, 2, [] { return std::string(); });
  return uses;
}

}  // namespace

std::vector<std::string> misspellings(const ResourceSet& resources, const std::vector<Area>& areas) {
  std::vector<std::string> warnings;
  if (areas.size() > limits::plan_channel_areas) return warnings;
  const auto uses = count_uses(resources, areas);
  for (const auto& [word, use] : uses) {
    if (use.places != 1) continue;
    for (const auto& [other, others_use] : uses) {
      if (word == other || others_use.places < 2 || !looks_misspelt(word, other)) continue;
      warnings.push_back(fmt::format("{}: attribute '{}' stands nowhere else; did you mean '{}'?", use.first, word, other));
      break;
    }
  }
  return warnings;
}

}  // namespace epif::planner
