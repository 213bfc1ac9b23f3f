#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

// A second planner for tests, written from interface.md "Planner definitions" alone and as plainly as possible: it tries
// every subset and every arrangement. It shares no code with the planner.
namespace epif::planner::reference {

struct Function {
  std::string name;
  std::set<std::string> provides;
  std::string pair;  ///< name of the second half
  int place = 0;     ///< 0 any, 1 source, 2 destination
  std::uint64_t setup_us = 0;
  std::uint64_t per_gib_us = 0;
  std::set<std::string> after;
};

struct Question {
  std::vector<Function> functions;  ///< sorted by name
  std::set<std::string> source;     ///< attributes, and what policies require
  std::set<std::string> destination;
  int source_proxy = 0;  ///< 0 none, else a number
  int destination_proxy = 0;
  std::uint64_t gib = 0;  ///< volume in whole GiB
};

struct Answer {
  std::string verdict;
  std::set<std::string> gap;
  std::set<std::string> missing;                ///< by definition; also set where only order and place contradict each other
  std::optional<std::set<std::string>> chosen;  ///< names, second halves included
  std::uint64_t cost_us = 0;
};

[[nodiscard]] Answer answer(const Question& question);

/// Whether this chain, in the direction of the data with the side (1 source, 2 destination) of each, keeps every order,
/// place and pair rule.
struct Placed {
  std::string function;
  int side = 1;
};
[[nodiscard]] bool lawful(const Question& question, const std::vector<Placed>& chain);

}  // namespace epif::planner::reference
