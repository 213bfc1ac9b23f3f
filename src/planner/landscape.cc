#include "planner/landscape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace epif::planner {

Landscape::Landscape(const ResourceSet& resources) {
  std::unordered_map<std::string_view, std::size_t> proxy_ids;
  for (const auto& [full_name, proxy] : resources.proxies) {
    proxy_ids.emplace(full_name, proxies_.size());
    proxies_.push_back(&full_name);
  }
  sites_.reserve(resources.nodes.size());
  site_ids_.reserve(resources.nodes.size());
  for (const auto& [full_name, node] : resources.nodes) {
    Site site;
    site.node = &node;
    for (const auto& attribute : node.attributes) site.attributes.set(intern(attribute));
    if (const auto at = proxy_ids.find(node.proxy); at != proxy_ids.end()) site.proxy = at->second;
    site_ids_.emplace(full_name, sites_.size());
    sites_.push_back(std::move(site));
  }
  intern_all(resources);
  number_by_name();
  read_rtt(resources);
}

void Landscape::number_by_name() {
  if (std::ranges::is_sorted(attribute_names_)) return;
  const auto old_names = attribute_names_;
  std::ranges::sort(attribute_names_);
  for (std::size_t at = 0; at < attribute_names_.size(); ++at) attribute_ids_[attribute_names_[at]] = at;
  std::vector<std::size_t> now(old_names.size());
  for (std::size_t at = 0; at < old_names.size(); ++at) now[at] = attribute_ids_[old_names[at]];
  for (auto& site : sites_) {
    Bits renumbered;
    site.attributes.each([&](std::size_t at) { renumbered.set(now[at]); });
    site.attributes = std::move(renumbered);
  }
}

std::size_t Landscape::intern(std::string_view name) {
  const auto [at, added] = attribute_ids_.try_emplace(name, attribute_names_.size());
  if (added) attribute_names_.push_back(name);
  return at->second;
}

void Landscape::intern_all(const ResourceSet& resources) {
  for (const auto& [full_name, function] : resources.functions) {
    for (const auto& attribute : function.provides) intern(attribute);
  }
  for (const auto& [full_name, attributes] : resources.attributes) {
    for (const auto& attribute : attributes.attributes) intern(attribute);
  }
}

void Landscape::read_rtt(const ResourceSet& resources) {
  // Names were checked (ResourceSet::check): a full name, one of the own domain, or the only one of all.
  const auto resolve = [&](const std::string& domain, const std::string& wanted) -> std::string {
    const auto known = [&](const std::string& name) {
      return resources.proxies.contains(name) || resources.nodes.contains(name);
    };
    if (known(wanted)) return wanted;
    if (known(domain + "/" + wanted)) return domain + "/" + wanted;
    for (const auto& [full_name, proxy] : resources.proxies) {
      if (proxy.metadata.name == wanted) return full_name;
    }
    for (const auto& [full_name, node] : resources.nodes) {
      if (node.metadata.name == wanted) return full_name;
    }
    return {};
  };
  for (const auto& [full_name, proxy] : resources.proxies) {
    for (const auto& [wanted, time] : proxy.rtt) {
      const auto other = resolve(proxy.metadata.domain, wanted);
      auto& known = rtt_[std::minmax(full_name, other)];
      known = std::max(known, time);
    }
  }
}

std::chrono::microseconds Landscape::rtt(const std::string& left, const std::string& right) const {
  if (rtt_.empty()) return {};
  const auto at = rtt_.find(std::minmax(left, right));
  return at == rtt_.end() ? std::chrono::microseconds(0) : at->second;
}

std::size_t Landscape::site_of(std::string_view node) const {
  const auto at = site_ids_.find(node);
  return at == site_ids_.end() ? nowhere : at->second;
}

std::size_t Landscape::attribute(std::string_view name) const {
  const auto at = attribute_ids_.find(name);
  return at == attribute_ids_.end() ? nowhere : at->second;
}

Bits Landscape::attributes(const AttributeSet& known) const {
  Bits bits;
  for (const auto& name : known) {
    const auto at = attribute(name);
    assert(at != nowhere);
    bits.set(at);
  }
  return bits;
}

AttributeSet Landscape::names(const Bits& attributes) const {
  AttributeSet made;
  made.reserve(attributes.size());
  attributes.each([&](std::size_t at) { made.emplace_back(attribute_names_[at]); });
  return made;
}

Ends Landscape::ends(const Site& source, const Site& destination) const {
  if (source.proxy == nowhere) return destination.proxy == nowhere ? Ends::none : Ends::destination_only;
  if (destination.proxy == nowhere) return Ends::source_only;
  return source.proxy == destination.proxy ? Ends::same : Ends::two;
}

Result<> Landscape::apply(std::span<const WhatIf> changes) {
  for (const auto& change : changes) {
    const auto text = fmt::format("--what-if {}{}={}", change.node, change.add ? '+' : '-', change.attribute);
    const auto site = site_of(change.node);
    if (site == nowhere) {
      return fail(Code::not_found, fmt::format("there is no Node '{}'", change.node), text, {},
                  "write DOMAIN/NODE+=ATTRIBUTE");
    }
    const auto bit = attribute(change.attribute);
    if (bit == nowhere) {
      return fail(Code::not_found, fmt::format("attribute '{}' is not known", change.attribute), text,
                  "no Node, BridgingFunction or Attributes resource names it",
                  "correct it, or name it in an Attributes resource");
    }
    if (change.add)
      sites_[site].attributes.set(bit);
    else
      sites_[site].attributes.reset(bit);
  }
  return {};
}

std::vector<Area> group(const Landscape& landscape, std::vector<Bits>* members) {
  std::unordered_map<Bits, std::size_t, BitsHash> ids;
  std::vector<std::vector<const Landscape::Site*>> sites;
  std::vector<const Bits*> sets;
  for (const auto& site : landscape.sites()) {
    const auto [at, added] = ids.try_emplace(site.attributes, sets.size());
    if (added) {
      sets.push_back(&site.attributes);
      sites.emplace_back();
    }
    sites[at->second].push_back(&site);
  }
  std::vector<std::size_t> order(sets.size());
  for (std::size_t at = 0; at < order.size(); ++at) order[at] = at;
  std::ranges::sort(order, [&](std::size_t left, std::size_t right) { return sets[left]->before(*sets[right]); });
  std::vector<Area> made;
  made.reserve(sets.size());
  for (const auto at : order) {
    Area area{landscape.names(*sets[at]), {}};
    area.nodes.reserve(sites[at].size());
    for (const auto* site : sites[at]) area.nodes.push_back(site->node->metadata.full_name());
    made.push_back(std::move(area));
    if (members) members->push_back(*sets[at]);
  }
  return made;
}

std::vector<Area> areas(const ResourceSet& resources) {
  return group(Landscape(resources), nullptr);
}

std::vector<Channel> channels(const std::vector<Bits>& areas) {
  std::vector<Channel> made;
  for (std::size_t from = 0; from < areas.size(); ++from) {
    for (std::size_t to = 0; to < areas.size(); ++to) {
      if (from != to && areas[from].within(areas[to])) made.push_back({from, to});
    }
  }
  return made;
}

}  // namespace epif::planner
