#include "planner/choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>
#include <variant>

namespace epif::planner {
namespace {

constexpr std::size_t candidates_max = 64;

/// A unit at a place, and which direction's data it serves there.
struct Candidate {
  const Unit* unit = nullptr;
  Hold hold = Hold::anywhere;
  bool forward = true;
  bool backward = true;
};

/// A function for the data's source serves forward data at the source and backward data at the other end; what may be
/// anywhere, and a pair, which is one duplex function, serves both at once.
void add_candidates(std::vector<Candidate>& candidates, const Unit& unit, Ends ends) {
  if (unit.is_pair()) {
    if (ends == Ends::two) candidates.push_back({&unit, Hold::anywhere, true, true});
    return;
  }
  if (ends == Ends::none) return;
  if (unit.place == Place::any || ends == Ends::same) {
    candidates.push_back({&unit, Hold::anywhere, true, true});
    return;
  }
  const bool at_source = unit.place == Place::source;
  if (ends != Ends::destination_only) candidates.push_back({&unit, Hold::source, at_source, !at_source});
  if (ends != Ends::source_only) candidates.push_back({&unit, Hold::destination, !at_source, at_source});
}

std::vector<Piece> pieces_of(const std::vector<Candidate>& candidates, std::uint64_t chosen) {
  std::vector<Piece> pieces;
  for (std::size_t at = 0; at < candidates.size(); ++at) {
    if (((chosen >> at) & 1) == 0) continue;
    const auto& [unit, hold, forward, backward] = candidates[at];
    pieces.push_back({unit->first, unit->is_pair() ? Hold::source : hold});
    if (unit->is_pair()) pieces.push_back({unit->second, Hold::destination});
  }
  return pieces;
}

/// The candidates that the pieces of a cycle came from.
std::uint64_t candidates_of(const std::vector<Candidate>& candidates, const std::vector<Piece>& pieces,
                            const std::vector<std::size_t>& cycle) {
  std::uint64_t mask = 0;
  for (const auto piece : cycle) {
    for (std::size_t at = 0; at < candidates.size(); ++at) {
      const auto& unit = *candidates[at].unit;
      const bool whole = unit.is_pair() && (unit.first == pieces[piece].function || unit.second == pieces[piece].function);
      const bool single = unit.first == pieces[piece].function && candidates[at].hold == pieces[piece].hold;
      if (whole || single) mask |= std::uint64_t{1} << at;
    }
  }
  return mask;
}

/// One cover element for each attribute of each direction. What nobody covers goes to `missing`.
std::vector<std::uint64_t> elements_of(const std::vector<Candidate>& candidates, const Need& need, Bits& missing) {
  std::vector<std::uint64_t> elements;
  const auto add = [&](const Bits& gap, bool Candidate::*serves) {
    gap.each([&](std::size_t attribute) {
      std::uint64_t ways = 0;
      for (std::size_t at = 0; at < candidates.size(); ++at) {
        const auto& candidate = candidates[at];
        if (candidate.*serves && candidate.unit->provides.test(attribute)) ways |= std::uint64_t{1} << at;
      }
      if (ways == 0) missing.set(attribute);
      elements.push_back(ways);
    });
  };
  add(need.forward, &Candidate::forward);
  add(need.backward, &Candidate::backward);
  return elements;
}

Choice decide(const Catalog& catalog, const Need& need, const std::vector<Candidate>& candidates) {
  Choice choice;
  CoverProblem problem;
  problem.elements = elements_of(candidates, need, choice.missing);
  if (!choice.missing.empty()) return choice;
  for (const auto& candidate : candidates) {
    problem.costs.push_back(catalog.cost(*candidate.unit, need.volume));
    problem.counts.push_back(candidate.unit->count());
  }
  // A set whose order contradicts its places is no chain; what contradicts is forbidden together and the next best asked.
  for (;;) {
    const auto chosen = cheapest_cover(problem);
    if (!chosen) break;
    const auto pieces = pieces_of(candidates, *chosen);
    auto ordered = order(catalog, pieces, need.ends);
    if (auto* steps = std::get_if<std::vector<Step>>(&ordered)) {
      choice.feasible = true;
      choice.steps = std::move(*steps);
      choice.tangled.clear();
      return choice;
    }
    const auto& cycle = std::get<std::vector<std::size_t>>(ordered);
    problem.forbidden.push_back(candidates_of(candidates, pieces, cycle));
    assert((problem.forbidden.back() & *chosen) == problem.forbidden.back());
    if (!choice.tangled.empty()) continue;
    for (const auto piece : cycle) choice.tangled.push_back(pieces[piece].function);
  }
  for (const auto& unit : catalog.units) {
    const bool tangled = std::ranges::find(choice.tangled, unit.first) != choice.tangled.end() ||
                         std::ranges::find(choice.tangled, unit.second) != choice.tangled.end();
    if (!tangled) continue;
    unit.provides.each([&](std::size_t attribute) {
      if (need.forward.test(attribute) || need.backward.test(attribute)) choice.missing.set(attribute);
    });
  }
  return choice;
}

}  // namespace

bool placeable(const Unit& unit, Ends ends) {
  std::vector<Candidate> candidates;
  add_candidates(candidates, unit, ends);
  return std::ranges::any_of(candidates, &Candidate::forward);
}

Result<const Choice*> Chooser::choose(const Need& need) {
  if (const auto at = known_.find(need); at != known_.end()) return &at->second;
  std::vector<Candidate> candidates;
  for (const auto& unit : catalog_.units) {
    const auto first = candidates.size();
    add_candidates(candidates, unit, need.ends);
    // What covers nothing of this need is no candidate.
    const auto useless = [&](const Candidate& candidate) {
      bool useful = false;
      unit.provides.each([&](std::size_t attribute) {
        useful = useful || (candidate.forward && need.forward.test(attribute)) ||
                 (candidate.backward && need.backward.test(attribute));
      });
      return !useful;
    };
    candidates.erase(std::remove_if(candidates.begin() + static_cast<std::ptrdiff_t>(first), candidates.end(), useless),
                     candidates.end());
  }
  if (candidates.size() > candidates_max) {
    return fail(Code::limit, fmt::format("{} bridging functions could serve one flow", candidates.size()), {},
                fmt::format("the exact choice is made among at most {}", candidates_max), "split the catalogue");
  }
  return &known_.try_emplace(need, decide(catalog_, need, candidates)).first->second;
}

}  // namespace epif::planner
