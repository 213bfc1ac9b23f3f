#include "planner/landscape.h"

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
  read_rtt(resources);
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
    const auto known = [&](const std::string& name) { return resources.proxies.contains(name) || resources.nodes.contains(name); };
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
  attributes.each([&](std::size_t at) { made.emplace_back(attribute_names_[at]); });
  std::ranges::sort(made);
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
      return fail(Code::not_found, fmt::format("there is no Node '{}'", change.node), text, {}, "write DOMAIN/NODE+=ATTRIBUTE");
    }
    const auto bit = attribute(change.attribute);
    if (bit == nowhere) {
      return fail(Code::not_found, fmt::format("attribute '{}' is not known", change.attribute), text,
                  "no Node, BridgingFunction or Attributes resource names it", "correct it, or name it in an Attributes resource");
    }
    if (change.add) sites_[site].attributes.set(bit);
    else sites_[site].attributes.reset(bit);
  }
  return {};
}

std::vector<Area> group(const Landscape& landscape, std::vector<Bits>* members) {
  std::unordered_map<Bits, std::size_t, BitsHash> ids;
  std::vector<Area> made;
  std::vector<Bits> sets;
  for (const auto& site : landscape.sites()) {
    const auto [at, added] = ids.try_emplace(site.attributes, made.size());
    if (added) {
      made.push_back({landscape.names(site.attributes), {}});
      sets.push_back(site.attributes);
    }
    made[at->second].nodes.push_back(site.node->metadata.full_name());
  }
  std::vector<std::size_t> order(made.size());
  for (std::size_t at = 0; at < order.size(); ++at) order[at] = at;
  std::ranges::sort(order, {}, [&](std::size_t at) -> const AttributeSet& { return made[at].attributes; });
  std::vector<Area> sorted;
  sorted.reserve(made.size());
  for (const auto at : order) {
    sorted.push_back(std::move(made[at]));
    if (members) members->push_back(std::move(sets[at]));
  }
  return sorted;
}

std::vector<Area> areas(const ResourceSet& resources) { return group(Landscape(resources), nullptr); }

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
