#include "planner/conflict.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace epif::planner {
namespace {

std::string full_name(const Install& install) {
  return install.application + "/" + install.flow;
}

bool told_apart(const Selector& left, const Selector& right) {
  const auto differ = [](const std::string& one, const std::string& other) {
    return !one.empty() && !other.empty() && one != other;
  };
  return differ(left.user, right.user) || differ(left.cgroup, right.cgroup);
}

/// A route of NGINX is in the kernel and takes every program's connections: all that wants anything else is in its way.
bool in_the_way(const Install& left, const Install& right) {
  if (left.method != Method::nginx && right.method != Method::nginx) return false;
  return left.method != right.method || left.data != right.data || left.selector.user != right.selector.user ||
         left.selector.cgroup != right.selector.cgroup;
}

std::string_view advice(const Install& left, const Install& right) {
  if (in_the_way(left, right)) return "NGINX takes the connections of all programs there: name the same method for both, other than nginx where selectors are to tell them apart";
  return "a selector (user or cgroup) must tell them apart";
}

std::string difference(const Install& left, const Install& right) {
  if (left.purpose != right.purpose) return fmt::format("purposes '{}' and '{}'", left.purpose, right.purpose);
  if (left.chain != right.chain) return "different chains";
  if (left.method != right.method) return fmt::format("methods {} and {}", name(left.method), name(right.method));
  if (left.data != right.data) return "different directions of data";
  return "a selector on one side only, while NGINX carries all programs of the node";
}

}  // namespace

std::vector<Conflict> settle_conflicts(std::vector<Install>& installs) {
  std::vector<std::size_t> granted;
  for (std::size_t at = 0; at < installs.size(); ++at) {
    if (installs[at].feasible) granted.push_back(at);
  }
  const auto key = [&](std::size_t at) {
    const auto& install = installs[at];
    return std::tie(install.port, install.protocol, install.from, install.to);
  };
  std::ranges::sort(granted, [&](std::size_t left, std::size_t right) {
    return std::pair(key(left), left) < std::pair(key(right), right);
  });
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t begin = 0; begin < granted.size();) {
    auto end = begin + 1;
    while (end < granted.size() && key(granted[end]) == key(granted[begin])) ++end;
    for (auto left = begin; left < end; ++left) {
      for (auto right = left + 1; right < end; ++right) {
        const auto& one = installs[granted[left]];
        const auto& other = installs[granted[right]];
        const bool same = one.chain == other.chain && one.purpose == other.purpose;
        if ((!same && !told_apart(one.selector, other.selector)) || in_the_way(one, other)) pairs.emplace_back(granted[left], granted[right]);
      }
    }
    begin = end;
  }
  std::ranges::sort(pairs);
  std::vector<Conflict> conflicts;
  for (const auto& [left, right] : pairs) {
    const auto& one = installs[left];
    const auto& other = installs[right];
    conflicts.push_back(
        {full_name(one), full_name(other),
         fmt::format("both go from {} to {} {}port {} with {}; {}", one.from, one.to, one.protocol == Protocol::udp ? "UDP " : "", one.port,
                     difference(one, other), advice(one, other))});
  }
  for (std::size_t at = 0; at < pairs.size(); ++at) {
    for (const auto index : {pairs[at].first, pairs[at].second}) {
      auto& install = installs[index];
      if (!install.feasible) continue;
      const auto& other = index == pairs[at].first ? conflicts[at].second : conflicts[at].first;
      install.feasible = false;
      install.chain.clear();
      install.proxies.clear();
      install.method = Method::automatic;
      install.predicted_setup_ms = 0;
      install.reason = fmt::format("Conflict with {}: {}.", other, conflicts[at].reason);
    }
  }
  return conflicts;
}

}  // namespace epif::planner
