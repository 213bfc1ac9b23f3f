#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "planner/bits.h"
#include "planner/plan.h"

namespace epif::planner {

/// Which proxies a flow's data meets, seen from where the data is.
enum class Ends : std::uint8_t { none, source_only, destination_only, same, two };

/// The input with every name turned into a number. Views the resources, which must outlive it.
class Landscape {
 public:
  static constexpr std::size_t nowhere = ~std::size_t{0};

  struct Site {
    const Node* node = nullptr;
    Bits attributes;
    std::size_t proxy = nowhere;  ///< index into proxies()
  };

  explicit Landscape(const ResourceSet& resources);

  /// Applies `changes`; errors: an unknown node or attribute.
  [[nodiscard]] Result<> apply(std::span<const WhatIf> changes);

  [[nodiscard]] const std::vector<Site>& sites() const { return sites_; }  ///< in the order of names
  [[nodiscard]] std::size_t site_of(std::string_view node) const;          ///< nowhere if unknown
  [[nodiscard]] const std::string& proxy_name(std::size_t proxy) const { return *proxies_[proxy]; }
  [[nodiscard]] Ends ends(const Site& source, const Site& destination) const;

  [[nodiscard]] std::size_t attribute(std::string_view name) const;  ///< nowhere if unknown
  [[nodiscard]] Bits attributes(const AttributeSet& known) const;    ///< all names must be known
  [[nodiscard]] AttributeSet names(const Bits& attributes) const;    ///< sorted
  [[nodiscard]] std::size_t attribute_count() const { return attribute_names_.size(); }

  /// Round-trip time between two machines by full name; the larger where each says something else, zero if nobody says.
  [[nodiscard]] std::chrono::microseconds rtt(const std::string& left, const std::string& right) const;

 private:
  std::size_t intern(std::string_view name);
  void intern_all(const ResourceSet& resources);
  void number_by_name();  ///< so that a set's members in rising order are in the order of names
  void read_rtt(const ResourceSet& resources);

  std::vector<std::string_view> attribute_names_;
  std::unordered_map<std::string_view, std::size_t> attribute_ids_;
  std::vector<Site> sites_;
  std::unordered_map<std::string_view, std::size_t> site_ids_;
  std::vector<const std::string*> proxies_;
  std::map<std::pair<std::string, std::string>, std::chrono::microseconds> rtt_;
};

/// Nodes with equal attributes (Eq. 2, 3), ordered by attributes; `members` receives each area's attribute set.
[[nodiscard]] std::vector<Area> group(const Landscape& landscape, std::vector<Bits>* members);
/// Eq. 4 over these sets.
[[nodiscard]] std::vector<Channel> channels(const std::vector<Bits>& areas);

}  // namespace epif::planner
