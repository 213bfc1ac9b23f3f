#pragma once
#include <string>
#include <vector>

#include "planner/plan.h"

namespace epif::planner {

/// A warning for each attribute that stands in one place only (a Node, or what a BridgingFunction provides) and is nearly another
/// one that is used elsewhere: "encrypton" beside "encryption". Words that differ by a number or by a part of one letter
/// ("ipv4" and "ipv6", "zone-a" and "zone-b") are meant as they are. Names sorted; nothing for inputs with more areas than
/// limits::plan_channel_areas, which no hand wrote.
[[nodiscard]] std::vector<std::string> misspellings(const ResourceSet& resources, const std::vector<Area>& areas);

}  // namespace epif::planner
