#include "planner/words.h"

#include <fmt/format.h>

#include <algorithm>

namespace epif::planner {
namespace {

/// Who lacks what, in the sense of the rule.
std::string gap_words(const Told& told, const AttributeSet& gap, GapRule rule) {
  return fmt::format("{} lacks {}", rule == GapRule::printed ? told.source : told.destination, words(gap));
}

/// Why this unit cannot be held between these ends.
std::string hindrance(const Told& told, const Unit& unit) {
  const auto& function = *told.catalog.functions[unit.first];
  const auto lacking = [&](bool source) { return fmt::format("{} has no proxy", source ? told.source : told.destination); };
  if (unit.is_pair()) {
    const auto pair =
        fmt::format("'{}' with '{}' is a pair and needs a proxy at each end", function.metadata.name, function.pair);
    switch (told.ends) {
      case Ends::none: return pair + ", and neither end has one";
      case Ends::source_only: return pair + ", but " + lacking(false);
      case Ends::destination_only: return pair + ", but " + lacking(true);
      case Ends::same: return pair + ", but both ends share one";
      case Ends::two: break;
    }
    return pair;
  }
  if (told.ends == Ends::none) return fmt::format("'{}' needs a proxy, and neither end has one", function.metadata.name);
  const bool at_source = unit.place == Place::source;
  return fmt::format("'{}' belongs at the data's {}, but {}", function.metadata.name, at_source ? "source" : "destination",
                     lacking(at_source));
}

}  // namespace

std::string words(const std::vector<std::string>& list) {
  std::string text;
  for (std::size_t at = 0; at < list.size(); ++at) {
    if (at > 0) text += at + 1 == list.size() ? " and " : ", ";
    text += list[at];
  }
  return text;
}

std::string chain_words(const std::vector<PlacedFunction>& chain) {
  std::string text;
  for (std::size_t at = 0; at < chain.size();) {
    std::vector<std::string> together;
    const auto& proxy = chain[at].proxy;
    for (; at < chain.size() && chain[at].proxy == proxy; ++at) together.push_back(chain[at].function);
    text += fmt::format("{}{} at {}", text.empty() ? "" : ", ", words(together), proxy);
  }
  return text;
}

std::string supported_reason(const Told& told, const Permission& permission, GapRule rule) {
  if (rule == GapRule::printed) return fmt::format("{} has every attribute of {}.", told.source, told.destination);
  auto text = fmt::format("{} has every attribute of {}", told.destination, told.source);
  if (!permission.required_names.empty()) text += " and what the policy requires, " + words(permission.required_names);
  return text + ".";
}

std::string bridged_reason(const Told& told, const AttributeSet& gap, const std::vector<PlacedFunction>& chain,
                           GapRule rule) {
  return fmt::format("{}; supplied by {}.", gap_words(told, gap, rule), chain_words(chain));
}

std::string datagram_reason(const Told& told, const AttributeSet& gap, GapRule rule) {
  return fmt::format("{}; bridging functions carry byte streams only, and this flow is UDP.", gap_words(told, gap, rule));
}

std::string unfeasible_reason(const Told& told, const AttributeSet& gap, const Choice& choice, GapRule rule) {
  auto text = gap_words(told, gap, rule);
  const auto missing = told.landscape.names(choice.missing);
  if (!choice.tangled.empty()) {
    std::vector<std::string> functions;
    for (const auto at : choice.tangled) functions.push_back(told.catalog.functions[at]->metadata.name);
    return fmt::format("{}; for {} the order of {} contradicts their places.", text, words(missing), words(functions));
  }
  text += fmt::format("; nothing placeable supplies {}", words(missing));
  std::vector<std::string> reasons;
  for (const auto& unit : told.catalog.units) {
    bool could = false;
    choice.missing.each([&](std::size_t attribute) { could = could || unit.provides.test(attribute); });
    if (could) reasons.push_back(hindrance(told, unit));
  }
  if (reasons.empty()) return text + ": no bridging function provides it.";
  std::string why;
  for (const auto& reason : reasons) why += (why.empty() ? ": " : "; ") + reason;
  return text + why + ".";
}

}  // namespace epif::planner
