#include "orchestrator/installation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/judgement.h"
#include "orchestrator/policies.h"
#include "orchestrator/sample.h"

namespace epif::orchestrator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::chrono::sys_seconds now{std::chrono::seconds(1'795'000'000)};

/// Installs `applications` (all granted unless named in `refused`) in the sample's domains.
struct World {
  explicit World(const std::string& applications, const std::function<void(ResourceSet&)>& change = [](ResourceSet&) {})
      : resources(sample::resources(std::string(sample::domains) + applications)) {
    change(resources);
    std::vector<std::string> order;
    for (const auto& [name, application] : resources.applications) order.push_back(name);
    judgement = judge(resources, order, cedar_policies(), now);
  }
  std::map<std::string, Assignment> install(std::map<std::string, std::string> refused = {}, const NginxPorts& ports = {},
                                            const std::optional<Cidr>& alias_range = {}, const ToldAliases& aliases = {},
                                            std::chrono::sys_seconds when = now) const {
    InstallationInput input{.resources = resources, .plan = judgement.plan, .default_expires = now + std::chrono::hours(24)};
    for (const auto& [name, verdict] : judgement.applications) {
      if (verdict.kind == Verdict::Kind::possible && !refused.contains(name)) input.granted.insert(name);
      else refused.try_emplace(name, verdict.reason);
    }
    input.refused = std::move(refused);
    input.nginx_ports = ports;
    input.alias_range = alias_range;
    input.aliases = aliases;
    std::vector<std::string> order;
    for (const auto& [name, verdict] : judgement.applications) order.push_back(name);
    auto judged = judgement;
    input.names = give_aliases(judged, resources, {order}, {alias_range, aliases, resources, when});
    input.now = when;
    input.public_keys = {{"umc/umc-proxy", "KEY-UMC"}, {"research/research-proxy", "KEY-RESEARCH"}};
    return orchestrator::install(input);
  }
  ResourceSet resources;
  Judgement judgement;
};

const Route* route_to(const Assignment& assignment, const std::string& destination) {
  for (const auto& route : assignment.routes.routes) {
    if (route.destination.text() == destination) return &route;
  }
  return nullptr;
}

std::string application(const std::string& data, const std::string& from = "umc/modality", const std::string& to = "research/pacs") {
  return "---\napiVersion: epif/v1\nkind: Application\nmetadata: {name: app}\nspec:\n  purpose: treatment\n  flows:\n    - {name: f, from: " +
         from + ", to: " + to + ", port: 4242, data: " + data + "}\n";
}

TEST(Installation, a_flow_of_datagrams_becomes_routes_for_datagrams) {
  const World world(application("push, protocol: udp", "research/pacs", "umc/modality"));
  ASSERT_EQ(world.judgement.applications.at("app").kind, Verdict::Kind::possible) << world.judgement.applications.at("app").reason;
  const auto all = world.install();
  for (const auto* node : {"research/pacs", "research/research-proxy"}) {
    const auto* route = route_to(all.at(node), "10.1.0.10/32:4242");
    ASSERT_NE(route, nullptr) << node;
    EXPECT_EQ(route->protocol, Protocol::udp);
  }
}

TEST(Installation, a_pushed_flow_passes_both_proxies_and_each_holds_its_part_of_the_chain) {
  const World world(application("push"));
  ASSERT_EQ(world.judgement.applications.at("app").kind, Verdict::Kind::possible) << world.judgement.applications.at("app").reason;
  const auto all = world.install();

  const auto* client = route_to(all.at("umc/modality"), "10.2.0.10/32:4242");
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(client->next->identity, "umc/umc-proxy");
  EXPECT_EQ(client->next->proxy.text(), "10.1.0.2:1083");
  EXPECT_TRUE(client->chain.empty());
  EXPECT_EQ(client->expires, now + std::chrono::hours(24));
  EXPECT_EQ(client->policy, "treatment");

  const auto* near = route_to(all.at("umc/umc-proxy"), "10.2.0.10/32:4242");
  const auto* far = route_to(all.at("research/research-proxy"), "10.2.0.10/32:4242");
  ASSERT_NE(near, nullptr);
  ASSERT_NE(far, nullptr);
  EXPECT_THAT(near->peers, ElementsAre("umc/modality"));
  EXPECT_THAT(far->peers, ElementsAre("umc/umc-proxy"));
  EXPECT_EQ(near->next->identity, "research/research-proxy");
  EXPECT_EQ(near->next->public_key, "KEY-RESEARCH");
  EXPECT_FALSE(far->next);
  EXPECT_EQ(far->peer_keys.at("umc/umc-proxy"), "KEY-UMC");
  EXPECT_EQ(client->id, near->id);
  EXPECT_EQ(near->id, far->id);

  ASSERT_FALSE(near->chain.empty());
  EXPECT_EQ(near->chain.back().function, "encrypt");
  EXPECT_EQ(near->chain.back().key_pair, "encrypt");
  EXPECT_EQ(far->chain.front().function, "decrypt");
  EXPECT_EQ(far->chain.front().key_pair, "encrypt");
  for (const auto* proxy : {"umc/umc-proxy", "research/research-proxy"}) {
    for (const auto& link : route_to(all.at(proxy), "10.2.0.10/32:4242")->chain) {
      EXPECT_TRUE(std::ranges::any_of(all.at(proxy).instances, [&](const auto& one) { return one.name == link.instance; }));
    }
  }
}

TEST(Installation, every_address_of_the_server_has_its_own_route_and_id) {
  const auto all = World(application("push")).install();
  const auto* four = route_to(all.at("umc/modality"), "10.2.0.10/32:4242");
  const auto* six = route_to(all.at("umc/modality"), "[fd02::10/128]:4242");
  ASSERT_NE(four, nullptr);
  ASSERT_NE(six, nullptr);
  EXPECT_NE(four->id, six->id);
}

TEST(Installation, a_supported_flow_passes_its_proxy_without_functions) {
  const auto all = World(application("pull")).install();  // pacs has no attributes: data towards modality lacks nothing
  for (const auto* at : {"umc/modality", "umc/umc-proxy"}) {
    const auto* route = route_to(all.at(at), "10.2.0.10/32:4242");
    ASSERT_NE(route, nullptr) << at;
    EXPECT_TRUE(route->chain.empty());
    EXPECT_EQ(route->data, DataDirection::pull);
  }
  EXPECT_TRUE(all.at("umc/umc-proxy").instances.empty());
}

TEST(Installation, both_directions_get_the_chain_of_the_one_that_needs_it) {
  const auto all = World(application("both")).install();
  const auto* route = route_to(all.at("umc/umc-proxy"), "10.2.0.10/32:4242");
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->data, DataDirection::both);
  EXPECT_FALSE(route->chain.empty());
}

TEST(Installation, a_flow_from_a_domain_without_a_proxy_goes_through_the_servers_proxy) {
  const auto all = World(application("push", "vendor/backup")).install();
  const auto* client = route_to(all.at("vendor/backup"), "10.2.0.10/32:4242");
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(client->next->identity, "research/research-proxy");
  EXPECT_THAT(route_to(all.at("research/research-proxy"), "10.2.0.10/32:4242")->peers, ElementsAre("vendor/backup"));
  EXPECT_TRUE(all.at("umc/umc-proxy").routes.routes.empty());
}

TEST(Installation, a_flow_of_method_nginx_has_its_port_at_both_ends_of_the_leg_and_keeps_it) {
  const World world(application("pull, profile: time-critical"), [](ResourceSet& all) {
    all.proxies.at("umc/umc-proxy").addresses.push_back(*IpAddress::parse("fd01::2"));
    all.nodes.at("umc/modality").addresses.push_back(*IpAddress::parse("fd01::10"));
  });
  ASSERT_EQ(world.judgement.applications.at("app").kind, Verdict::Kind::possible) << world.judgement.applications.at("app").reason;
  EXPECT_THAT(print_flows(world.judgement.applications.at("app").flows), HasSubstr("nginx: time-critical"));
  const auto all = world.install();
  for (const auto& [destination, listen, from] : {std::tuple("10.2.0.10/32:4242", "10.1.0.2", "10.1.0.10"), std::tuple("[fd02::10/128]:4242", "fd01::2", "fd01::10")}) {
    const auto* client = route_to(all.at("umc/modality"), destination);
    const auto* proxy = route_to(all.at("umc/umc-proxy"), destination);
    ASSERT_TRUE(client != nullptr && proxy != nullptr && client->nginx && proxy->nginx) << destination;
    EXPECT_FALSE(client->next);
    EXPECT_EQ(client->nginx, proxy->nginx);
    EXPECT_EQ(client->nginx->listen.ip.text(), listen);
    ASSERT_EQ(client->nginx->clients.size(), 1u);
    EXPECT_EQ(client->nginx->clients.front().text(), from);
    EXPECT_THAT(proxy->peers, ElementsAre("umc/modality"));
  }
  NginxPorts before;
  note_nginx_ports(all.at("umc/umc-proxy"), before);
  EXPECT_EQ(before.at("umc/umc-proxy").size(), 2u);
  const auto again = world.install({}, before);
  EXPECT_EQ(print(again.at("umc/modality")), print(all.at("umc/modality")));
  auto moved = before;
  for (auto& [id, port] : moved.at("umc/umc-proxy")) port = static_cast<std::uint16_t>(port == 28'999 ? 21'000 : port + 1);
  EXPECT_NE(print(world.install({}, moved).at("umc/modality")), print(all.at("umc/modality"))) << "what was assigned before counts";
}

TEST(Installation, a_flow_of_method_nginx_without_addresses_of_one_family_goes_by_socks) {
  const World world(application("pull, profile: time-critical"));  // pacs has IPv6, modality and proxy have none
  const auto all = world.install();
  const auto* client = route_to(all.at("umc/modality"), "10.2.0.10/32:4242");
  ASSERT_NE(client, nullptr);
  EXPECT_FALSE(client->nginx);
  EXPECT_TRUE(client->next);
}

TEST(Installation, a_named_node_has_an_alias_at_the_client_and_its_own_address_at_the_proxies) {
  const auto range = Cidr::parse("198.18.0.0/15").value();
  for (const auto* profile : {"push", "pull, profile: time-critical"}) {
    const World world(application(profile), [](ResourceSet& all) { all.nodes.at("research/pacs").hostname = "pacs.research"; });
    const auto all = world.install({}, {}, range);
    ToldAliases given;
    for (const auto& [node, assignment] : all) note_aliases(assignment, 1, 1, now, range, given);
    ASSERT_EQ(given.size(), 1u);
    ASSERT_EQ(given.at("umc/modality").aliases.size(), 1u);
    auto& alias = given.at("umc/modality").aliases[0];
    EXPECT_EQ(alias.name, "pacs.research");
    const auto by_alias = CaptureTarget{{alias.address, 32}, {4242, 4242}}.text();
    const auto* client = route_to(all.at("umc/modality"), by_alias);
    const auto* own = route_to(all.at("umc/modality"), "[fd02::10/128]:4242");
    const auto* proxy = route_to(all.at("umc/umc-proxy"), "10.2.0.10/32:4242");
    ASSERT_TRUE(client != nullptr && own != nullptr && proxy != nullptr) << profile;
    EXPECT_EQ(client->name, "pacs.research");
    EXPECT_EQ(own->name, "") << "the name means one address alone";
    EXPECT_EQ(route_to(all.at("umc/modality"), "10.2.0.10/32:4242"), nullptr);
    EXPECT_THAT(all.at("umc/modality").routes.refusals.front().reason, HasSubstr("by its name, pacs.research"));
    EXPECT_TRUE(parse_assignment(print(all.at("umc/modality"))));
    EXPECT_EQ(proxy->name, "pacs.research");
    EXPECT_EQ(client->id, proxy->id);
    EXPECT_EQ(route_to(all.at("umc/umc-proxy"), by_alias), nullptr);
    EXPECT_TRUE(std::ranges::any_of(all.at("umc/modality").routes.refusals, [&](const Refusal& one) { return one.destination.block == range; }));
    EXPECT_EQ(print(world.install({}, {}, range, given).at("umc/modality")), print(all.at("umc/modality")));
    alias.address = *IpAddress::parse("198.18.0.77");
    EXPECT_NE(route_to(world.install({}, {}, range, given).at("umc/modality"), "198.18.0.77/32:4242"), nullptr) << "what was assigned before counts";
    EXPECT_EQ(route_to(world.install().at("umc/modality"), "10.2.0.10/32:4242")->name, "pacs.research") << "without a range nothing changes";
  }
}

TEST(Installation, a_name_without_an_alias_is_refused_and_one_of_several_nodes_means_their_own_addresses) {
  const auto range = Cidr::parse("198.18.0.0/30").value();
  World world(application("push"), [](ResourceSet& all) { all.nodes.at("research/pacs").hostname = "pacs.research"; });
  const ToldAliases told{{"umc/modality", {4, {{"a", *IpAddress::parse("198.18.0.1")}, {"b", *IpAddress::parse("198.18.0.2"), 4}}}}};
  auto judged = world.judgement;
  const auto names = give_aliases(judged, world.resources, {{"app"}}, {range, told, world.resources, now});
  EXPECT_TRUE(names.empty());
  EXPECT_EQ(judged.applications.at("app").kind, Verdict::Kind::failed);
  EXPECT_THAT(judged.applications.at("app").reason, HasSubstr("flow f: no alias is left for pacs.research: of the 2 addresses of 198.18.0.0/30"));
  // Whatever the status says, the name does not come to mean the node's own address.
  InstallationInput input{.resources = world.resources, .plan = world.judgement.plan, .granted = {"app"}, .alias_range = range};
  for (const auto& [node, assignment] : install(input)) EXPECT_TRUE(assignment.routes.routes.empty()) << node;
  EXPECT_THAT(install(input).at("umc/modality").routes.refusals.front().reason, HasSubstr("pacs.research has no alias"));
  world.resources.nodes.at("vendor/backup").hostname = "PACS.research.";
  EXPECT_EQ(route_to(world.install({}, {}, range).at("umc/modality"), "10.2.0.10/32:4242")->name, "pacs.research");
}

TEST(Installation, an_application_that_waits_takes_no_alias_and_hears_that_there_is_none) {
  const auto range = Cidr::parse("198.18.0.0/30").value();
  auto first = application("push"), second = application("pull", "umc/modality", "vendor/backup");
  first.replace(first.find("name: app"), 9, "name: one");
  second.replace(second.find("name: app"), 9, "name: two");
  const World world(first + second, [](ResourceSet& all) {
    all.nodes.at("research/pacs").hostname = "pacs.research";
    all.nodes.at("vendor/backup").hostname = "backup.vendor";
  });
  const auto kind = [&](const Askers& askers, const std::string& name, std::vector<ToldAlias> rest) {
    auto judged = world.judgement;
    const ToldAliases told{{"umc/other", {4, std::move(rest), Role::endpoint}}};
    EXPECT_EQ(judged.applications.at(name).kind, Verdict::Kind::possible) << judged.applications.at(name).reason;
    const auto names = give_aliases(judged, world.resources, askers, {range, told, world.resources, now});
    EXPECT_EQ(names.size(), askers.granted.size());
    return judged.applications.at(name).kind;
  };
  const std::vector<ToldAlias> rests{{"a", *IpAddress::parse("198.18.0.1"), 4}};
  EXPECT_EQ(kind({{"two"}, {"one"}}, "one", {}), Verdict::Kind::possible);
  EXPECT_EQ(kind({{"two"}, {"one"}}, "one", rests), Verdict::Kind::failed);
  EXPECT_EQ(kind({{}, {"one", "two"}}, "two", rests), Verdict::Kind::possible) << "one that waits takes none from another";
}

TEST(Installation, an_alias_that_is_given_back_is_refused_while_it_rests_whatever_the_range_is) {
  const auto range = Cidr::parse("198.18.0.0/15").value();
  const World world(application("push"), [](ResourceSet& all) { all.nodes.at("research/pacs").hostname = "pacs.research"; });
  const auto note = [&](const std::map<std::string, Assignment>& all, std::uint64_t generation, std::uint64_t in_place) {
    ToldAliases told;
    for (const auto& [node, assignment] : all) note_aliases(assignment, generation, in_place, now, range, told);
    return told;
  };
  const auto first = world.install({}, {}, range);
  const auto alias = first.at("umc/modality").aliases.at(0).address;
  const auto refused = [&](const std::map<std::string, Assignment>& all) {
    const auto& refusals = all.at("umc/modality").routes.refusals;
    const auto exact = std::ranges::find(refusals, CaptureTarget{{alias, 32}, {}}, &Refusal::destination);
    return exact == refusals.end() ? std::string() : exact->reason;
  };
  EXPECT_EQ(refused(first), "");
  for (const auto& other : {std::optional(range), std::optional(Cidr::parse("10.9.0.0/24").value()), std::optional<Cidr>()}) {
    const std::map<std::string, std::string> stopped{{"app", "it was stopped"}};
    const auto then = world.install(stopped, {}, other, note(first, 1, 1));
    EXPECT_THAT(refused(then), HasSubstr("pacs.research had this address"));
    EXPECT_EQ(then.at("umc/modality").aliases, (std::vector<ToldAlias>{{"pacs.research", alias, 2}}));
    const auto away = world.install(stopped, {}, other, note(then, 2, 1), now + std::chrono::hours(9));
    EXPECT_EQ(refused(away), refused(then)) << "its agent was away";
    const auto told = note(then, 2, 2);
    EXPECT_EQ(refused(world.install(stopped, {}, other, told)), refused(then));
    EXPECT_TRUE(std::ranges::any_of(then.at("umc/modality").routes.refusals, [&](const Refusal& one) {
      return one.destination.ports.is_all() && one.destination.block.prefix < 32 && one.destination.block.contains(alias);
    })) << "without a wider refusal a redirector goes on to answer it";
    EXPECT_EQ(refused(world.install(stopped, {}, other, told, now + alias_rest)), "");
    // A machine that has the address by now is not reached there meanwhile.
    auto moved = world;
    moved.resources.nodes.at("research/pacs").addresses = {alias};
    moved.resources.nodes.at("research/pacs").hostname.clear();
    const auto elsewhere = other == range ? std::nullopt : other;
    auto judged = moved.judgement;
    EXPECT_TRUE(give_aliases(judged, moved.resources, {{"app"}}, {elsewhere, told, moved.resources, now}).empty());
    EXPECT_EQ(judged.applications.at("app").reason,
              "flow f: " + alias.text() + " was an alias of another name: programs of umc/modality may still have it for pacs.research; "
              "wait: it is free there at 2026-11-18T12:06:40Z");
    EXPECT_TRUE(moved.install({}, {}, elsewhere, told).at("umc/modality").routes.routes.empty()) << "whatever the status says";
    EXPECT_EQ(moved.install({}, {}, elsewhere, told, now + alias_rest).at("umc/modality").routes.routes.size(), 1u);
  }
  const auto again = world.install({}, {}, range, note(world.install({{"app", "stopped"}}, {}, range, note(first, 1, 1)), 2, 2));
  EXPECT_EQ(again.at("umc/modality").aliases, (std::vector<ToldAlias>{{"pacs.research", alias}}));
  EXPECT_EQ(refused(again), "");
}

TEST(Installation, a_machine_inside_of_the_alias_range_opens_nothing_of_it) {
  const auto range = Cidr::parse("198.18.0.0/15").value();
  const auto named = [](ResourceSet& all) { all.nodes.at("research/pacs").hostname = "pacs.research"; };
  const auto before = World(application("push"), named).install({}, {}, range);
  const World world(application("push"), [&](ResourceSet& all) {
    named(all);
    all.nodes.at("vendor/backup").addresses = {*IpAddress::parse("198.19.0.7")};
  });
  const auto all = world.install({}, {}, range);
  EXPECT_TRUE(all.at("umc/modality").routes.routes == before.at("umc/modality").routes.routes);
  for (const auto* node : {"umc/modality", "vendor/backup"}) {
    EXPECT_EQ(std::ranges::count(all.at(node).routes.refusals, CaptureTarget{range, {}}, &Refusal::destination), 1) << node;
  }
  // A flow to the machine itself fails and says why.
  for (const auto* client : {"umc/modality", "research/pacs"}) {
    const World there(application("push", client, "umc/inside"), [&](ResourceSet& more) {
      auto& inside = more.nodes["umc/inside"] = more.nodes.at("umc/modality");
      inside.metadata.name = "inside";
      inside.addresses = {*IpAddress::parse("198.19.0.7")};
    });
    const auto verdict = judge(there.resources, {"app"}, cedar_policies(), now, range).applications.at("app");
    EXPECT_EQ(verdict.kind, Verdict::Kind::failed) << client;
    EXPECT_THAT(verdict.reason, HasSubstr("umc/inside has the address 198.19.0.7, but those of the alias range 198.18.0.0/15 mean names"));
    EXPECT_EQ(there.judgement.applications.at("app").kind, Verdict::Kind::possible) << there.judgement.applications.at("app").reason;
    for (const auto& [node, assignment] : there.install({}, {}, range)) EXPECT_TRUE(assignment.routes.routes.empty()) << node;
  }
}

TEST(Installation, a_selector_stands_in_the_clients_route_alone) {
  const World world(application("push, selector: {user: alice, cgroup: lab.slice}"));
  const auto all = world.install();
  const auto* route = route_to(all.at("umc/modality"), "10.2.0.10/32:4242");
  ASSERT_NE(route, nullptr);
  EXPECT_THAT(route->selector.users, ElementsAre("alice"));
  EXPECT_THAT(route->selector.cgroups, ElementsAre("lab.slice"));
  EXPECT_TRUE(route_to(all.at("umc/umc-proxy"), "10.2.0.10/32:4242")->selector.empty());
}

TEST(Installation, a_function_whose_image_is_not_pinned_is_never_installed) {
  for (const auto* image : {"localhost/epif-bf:latest", ""}) {
    const World world(application("push"), [&](ResourceSet& all) { all.functions.at("encrypt").image = image; });
    const auto& verdict = world.judgement.applications.at("app");
    EXPECT_EQ(verdict.kind, Verdict::Kind::failed);
    EXPECT_THAT(verdict.reason, HasSubstr("BridgingFunction 'encrypt'"));
    for (const auto& [node, assignment] : world.install()) EXPECT_TRUE(assignment.instances.empty()) << node;
  }
}

TEST(Installation, a_flow_that_is_not_granted_leaves_only_its_reason) {
  const auto all = World(application("push")).install({{"app", "consent was withdrawn"}});
  for (const auto& [node, assignment] : all) {
    EXPECT_TRUE(assignment.routes.routes.empty()) << node;
    EXPECT_TRUE(assignment.instances.empty()) << node;
  }
  const auto& refusals = all.at("umc/modality").routes.refusals;
  const auto mine = std::ranges::find(refusals, "app/f", &Refusal::flow);
  ASSERT_NE(mine, refusals.end());
  EXPECT_EQ(mine->reason, "consent was withdrawn");
}

TEST(Installation, foreign_nodes_without_a_flow_are_refused_and_neighbours_are_not) {
  const auto all = World("").install();
  const auto& refusals = all.at("umc/modality").routes.refusals;
  EXPECT_TRUE(std::ranges::any_of(refusals, [](const Refusal& one) { return one.destination.text().starts_with("10.3.0.10"); }));
  EXPECT_FALSE(std::ranges::any_of(refusals, [](const Refusal& one) { return one.destination.text().starts_with("10.1.0."); }));
}

TEST(Installation, flow_ids_are_stable_and_say_nothing) {
  EXPECT_EQ(flow_id("imaging", "send", "10.2.0.10:4242"), flow_id("imaging", "send", "10.2.0.10:4242"));
  EXPECT_NE(flow_id("imaging", "send", "10.2.0.10:4242"), flow_id("imaging", "send2", "10.2.0.10:4242"));
  EXPECT_THAT(flow_id("imaging", "send", "x"), testing::MatchesRegex("[0-9a-f]{32}"));
}

TEST(Installation, equal_input_gives_equal_bytes_and_assignments_survive_the_wire) {
  const World world(application("both"));
  const auto one = world.install();
  const auto two = world.install();
  for (const auto& [node, assignment] : one) {
    EXPECT_EQ(print(assignment), print(two.at(node)));
    const auto read = parse_assignment(print(assignment));
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, assignment) << node;
  }
}

}  // namespace
}  // namespace epif::orchestrator
