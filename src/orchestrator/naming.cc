#include "orchestrator/naming.h"

#include <algorithm>

#include "orchestrator/installation.h"

namespace epif::orchestrator {

bool goes_by_name(const planner::Install& install, const ResourceSet& resources) {
  const auto server = resources.nodes.find(install.to);
  if (server == resources.nodes.end() || server->second.hostname.empty()) return false;
  const bool elsewhere = !install.proxies.empty() && domain_of(install.from) != domain_of(install.to);
  return elsewhere && std::ranges::any_of(server->second.addresses, &IpAddress::is_v4);
}

namespace {

/// No server's own address may be one that the client's programs know as a name's, of a range of before.
Result<> check_addresses(const Verdict& verdict, const ResourceSet& resources, const AliasBook& book) {
  for (const auto& install : verdict.installs) {
    const auto server = resources.nodes.find(install.to);
    if (server == resources.nodes.end()) continue;
    for (const auto& address : server->second.addresses) {
      if (auto free = book.check_address(install.flow, install.from, address); !free) return free;
    }
  }
  return {};
}

/// `out`: null where they are not to be taken.
Result<> give(const Verdict& verdict, const ResourceSet& resources, AliasBook& book, Names* out) {
  if (auto good = check_addresses(verdict, resources, book); !good || !book.has_range()) return good;
  std::vector<AliasWish> wishes;
  for (const auto& install : verdict.installs) {
    if (!goes_by_name(install, resources)) continue;
    const auto& hostname = resources.nodes.at(install.to).hostname;
    if (!book.is_ambiguous(hostname)) wishes.push_back({install.flow, install.from, hostname});
    else if (out != nullptr) (*out)[hostname].reset();
  }
  if (out == nullptr) return book.check(wishes);
  if (auto taken = book.take(wishes); !taken) return taken;
  for (const auto& wish : wishes) (*out)[wish.hostname] = book.given(wish.hostname);
  return {};
}

}  // namespace

Names give_aliases(Judgement& judgement, const ResourceSet& resources, const Askers& askers, AliasBook book) {
  Names out;
  const auto all = [&](const std::vector<std::string>& oldest_first, Names* names) {
    for (const auto& application : oldest_first) {
      auto& verdict = judgement.applications.at(application);
      if (verdict.kind != Verdict::Kind::possible) continue;
      if (const auto done = give(verdict, resources, book, names); !done) {
        verdict.kind = Verdict::Kind::failed;
        verdict.reason = done.error().text();
      }
    }
  };
  all(askers.granted, &out);
  all(askers.waiting, nullptr);
  return out;
}

}  // namespace epif::orchestrator
