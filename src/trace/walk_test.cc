#include "trace/walk.h"

#include <gtest/gtest.h>

#include "trace/node_view.h"

namespace epif::trace {
namespace {

using std::chrono::sys_seconds;
constexpr sys_seconds now{std::chrono::seconds(1'800'000'000)};

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

Route route(std::string id, std::string_view destination) {
  Route made;
  made.flow = "app/" + id;
  made.id = std::move(id);
  made.destination = *CaptureTarget::parse(destination);
  made.policy = "consent";
  made.policy_version = "3";
  made.expires = now + std::chrono::hours(1);
  return made;
}

/// client umc/node ── umc/proxy (this node sees it, with a function) ── research/proxy (another host) ── 10.2.0.20:80
struct World {
  View view;
  std::string dead_function;
  bool unreachable = false;
  Protocol protocol = Protocol::tcp;
  std::string from;
  std::vector<std::pair<std::string, std::uint32_t>> tried;  ///< connections and their marks

  World() {
    view.now = now;
    auto near = route("r1", "10.2.0.20:80");
    near.name = "pacs.example";
    near.next = NextHop{at("10.1.0.2:1083"), "umc/proxy", {}};
    auto far = near;
    far.peers = {"umc/node"};
    far.next = NextHop{at("10.3.0.2:1083"), "research/proxy", {}};
    far.chain = {{"firewall", "epif-firewall-1", "/run/x", 0, false, "", {}}};
    view.tables = {{Role::redirector, "a", {"umc/node", 1, {near}, {}}, {}, false}, {Role::proxy, "b", {"umc/proxy", 1, {far}, {}}, "/run/p", true}};
    view.tables[0].routes.refusals = {{*CaptureTarget::parse("10.2.0.21:80"), "app/other", "consent is missing"}};
    view.guards = {{15001, redirect::Routes(view.tables[0].routes).targets(), {*CaptureTarget::parse("10.1.0.2:1083")}, {}}};
    view.running = {15001};
  }
  Answer ask(std::string_view destination, bool connect = false) {
    Looks looks;
    looks.function_answers = [&](const ChainLink& link) -> Result<> {
      if (link.function == dead_function) return fail(Code::bf_failed, "no socket");
      return {};
    };
    // Two links: servers are reached by another one than the proxies.
    looks.address_towards = [](const IpAddress& to) { return *IpAddress::parse(to.text().starts_with("10.2.") ? "10.1.0.10" : "10.8.0.10"); };
    if (connect) {
      looks.connects = [&](const SocketAddress& to, std::uint32_t mark) -> Result<> {
        tried.emplace_back(to.text(), mark);
        if (unreachable) return fail(Code::refused, "cannot connect", to.text());
        return {};
      };
    }
    auto answer = walk({*Destination::parse(destination), protocol, {}, from}, view, looks);
    EXPECT_TRUE(answer) << answer.error().text();
    return answer ? *answer : Answer{};
  }
};

/// The proxy that this node sees connects to the server itself.
World with_a_last_proxy() {
  World world;
  auto& last = world.view.tables[1].routes.routes[0];
  last.next.reset();
  last.chain.clear();
  return world;
}

std::vector<std::string> hops(const Answer& answer) {
  std::vector<std::string> out;
  for (const auto& hop : answer.hops) out.push_back(hop.hop);
  return out;
}

TEST(Walk, AGrantedFlowIsFollowedAsFarAsThisNodeSees) {
  World world;
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"capture", "route", "proxy", "function", "proxy"}));
  EXPECT_NE(answer.hops[1].says.find("policy consent 3"), std::string::npos);
  EXPECT_EQ(answer.hops.back().state, State::unknown);
}

TEST(Walk, WhatNginxCarriesPassesTheKernelAloneWhetherTheRedirectorRunsOrNot) {
  World world;
  auto carried = route("fast", "10.2.0.20:80");
  carried.nginx = NginxPort{at("10.1.0.2:21000"), {*IpAddress::parse("10.1.0.10")}, false};
  world.view.tables[0].routes.routes = {carried};
  world.view.running.clear();
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"capture", "route", "proxy"}));
  EXPECT_NE(answer.hops[0].says.find("NGINX at 10.1.0.2:21000"), std::string::npos);
  world.unreachable = true;
  EXPECT_EQ(world.ask("10.2.0.20:80", true).verdict, Verdict::refused);
  world.view.now = now + std::chrono::hours(2);
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused);
}

TEST(Walk, NginxIsFollowedToTheServerWhereTheProxysTableIsSeen) {
  World world;
  auto carried = route("fast", "10.2.0.20:80");
  carried.nginx = NginxPort{at("10.1.0.2:21000"), {*IpAddress::parse("10.1.0.10")}, false};
  world.view.tables[0].routes.routes = {carried};
  carried.peers = {"umc/node"};
  auto& there = world.view.tables[1].routes.routes;
  there = {carried};
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"capture", "route", "proxy", "upstream"}));
  EXPECT_NE(answer.hops[2].says.find("NGINX at 10.1.0.2:21000 has route fast"), std::string::npos) << answer.hops[2].says;
  EXPECT_NE(answer.hops[2].says.find("lets in 10.1.0.10"), std::string::npos) << answer.hops[2].says;
  EXPECT_NE(answer.hops[3].says.find("connects to 10.2.0.20:80"), std::string::npos) << answer.hops[3].says;
  const auto refusal = [&] {
    const auto refused = world.ask("10.2.0.20:80");
    EXPECT_EQ(refused.verdict, Verdict::refused);
    return refused.hops.back().says;
  };
  there[0].nginx->clients = {*IpAddress::parse("10.1.0.11")};
  EXPECT_NE(refusal().find("lets in 10.1.0.11, and this node comes from 10.1.0.10"), std::string::npos);
  there[0].nginx->clients = {*IpAddress::parse("10.8.0.10")};
  EXPECT_NE(refusal().find("this node comes from 10.1.0.10"), std::string::npos) << "the way to the server decides, not that to NGINX";
  there[0].nginx->clients = {};
  EXPECT_NE(refusal().find("lets in no client"), std::string::npos);
  there = {carried};
  there[0].blocked = "withdrawn";
  EXPECT_NE(refusal().find("withdrawn"), std::string::npos);
  there = {carried};
  there[0].expires = now - std::chrono::hours(1);
  EXPECT_NE(refusal().find("was good until"), std::string::npos);
  there = {carried};
  there[0].destination = *CaptureTarget::parse("10.2.0.99:80");
  EXPECT_NE(refusal().find("no client of this port"), std::string::npos);
}

TEST(Walk, NginxIsFollowedByTheFlowWhereTheClientsAddressIsAnAlias) {
  World world;
  auto carried = route("fast", "198.18.5.5:80");
  carried.name = "pacs.example";
  carried.nginx = NginxPort{at("10.1.0.2:21000"), {*IpAddress::parse("10.8.0.10")}, false};
  world.view.tables[0].routes.routes = {carried};
  world.view.guards[0].targets = redirect::Routes(world.view.tables[0].routes).targets();
  carried.peers = {"umc/node"};
  carried.destination = *CaptureTarget::parse("10.2.0.20:80");
  auto& there = world.view.tables[1].routes.routes;
  auto other = carried;
  other.id = "another";
  other.name = "other.example";
  other.destination = *CaptureTarget::parse("10.2.0.21:80");
  there = {other, carried};
  for (const auto* asked : {"198.18.5.5:80", "pacs.example:80"}) {
    const auto answer = world.ask(asked);
    EXPECT_EQ(answer.verdict, Verdict::passes) << answer.hops.back().says;
    EXPECT_EQ(answer.destination, "198.18.5.5:80");
    EXPECT_EQ(hops(answer), (std::vector<std::string>{"capture", "route", "proxy", "upstream"}));
    EXPECT_NE(answer.hops.back().says.find("connects to 10.2.0.20:80"), std::string::npos) << answer.hops.back().says;
  }
  there = {other};
  const auto refused = world.ask("198.18.5.5:80");
  EXPECT_EQ(refused.verdict, Verdict::refused);
  EXPECT_NE(refused.hops.back().says.find("no client of this port to pacs.example:80"), std::string::npos) << refused.hops.back().says;
  // On the proxy's host the name means the server's own address.
  there = {carried};
  world.view.guards.clear();
  world.view.tables.erase(world.view.tables.begin());
  EXPECT_EQ(hops(world.ask("pacs.example:80")), (std::vector<std::string>{"proxy", "upstream"}));
}

TEST(Walk, OfSeveralRoutesOfANameCountsTheOneThatWouldServe) {
  World world;
  auto& own = world.view.tables[0].routes.routes;
  const auto serving = own[0];
  auto expired = serving;
  expired.id = "old";
  expired.destination = *CaptureTarget::parse("10.2.0.7:80");
  expired.expires = now - std::chrono::hours(1);
  auto datagrams = serving;
  datagrams.id = "datagrams";
  datagrams.destination = *CaptureTarget::parse("10.2.0.8:80");
  datagrams.protocol = Protocol::udp;
  auto others = serving;
  others.id = "others";
  others.destination = *CaptureTarget::parse("10.2.0.9:80");
  others.selector.users = {"4711"};
  auto port = serving;
  port.id = "port";
  port.destination = *CaptureTarget::parse("10.2.0.6:81");
  world.view.tables[1].routes.routes[0].destination = *CaptureTarget::parse("10.7.0.7:80");
  for (auto order = std::vector{serving, expired, datagrams, others, port}; const auto& first : std::vector(order)) {
    own = order;
    std::ranges::rotate(own, std::ranges::find(own, first.id, &Route::id));
    world.view.guards[0].targets = redirect::Routes(world.view.tables[0].routes).targets();
    EXPECT_EQ(world.ask("pacs.example:80").destination, "10.2.0.20:80") << first.id << " first";
    std::swap(world.view.tables[0], world.view.tables[1]);
    EXPECT_EQ(world.ask("pacs.example:80").destination, "10.2.0.20:80") << first.id << " first, behind the proxy's table";
    std::swap(world.view.tables[0], world.view.tables[1]);
  }
}

TEST(Walk, AnotherRedirectorsTableIsNotTakenForNginxs) {
  World world;
  auto carried = route("fast", "10.2.0.20:80");
  carried.nginx = NginxPort{at("10.1.0.2:21000"), {*IpAddress::parse("10.1.0.10")}, false};
  world.view.tables[0].routes.routes = {carried};
  auto others = carried;
  others.nginx->clients = {*IpAddress::parse("10.1.0.11")};
  others.destination = *CaptureTarget::parse("10.2.0.99:80");
  auto old = carried;
  old.peers = {"umc/node"};
  old.blocked = "of an older generation";
  auto& tables = world.view.tables;
  tables.insert(tables.begin() + 1, {Table{Role::redirector, "c", {"umc/other", 1, {others}, {}}, {}, false},
                                     Table{Role::proxy, "d", {"umc/node", 1, {old}, {}}, {}, false}});
  EXPECT_EQ(hops(world.ask("10.2.0.20:80")), (std::vector<std::string>{"capture", "route", "proxy"}));
  carried.peers = {"umc/node"};
  tables.back().routes.routes = {carried};
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"capture", "route", "proxy", "upstream"}));
  // What answers is neither proxy nor redirector: the routes say who may come.
  tables.back().role = Role::redirector;
  EXPECT_EQ(hops(world.ask("10.2.0.20:80")), (std::vector<std::string>{"capture", "route", "proxy", "upstream"}));
}

/// The host of umc/proxy: no guard, the proxy's table alone.
World on_a_proxys_host() {
  World world;
  world.view.guards.clear();
  world.view.tables.erase(world.view.tables.begin());
  return world;
}

TEST(Walk, OnAProxysHostTheWalkBeginsAtTheProxyForEachNodeThatHasARoute) {
  auto world = on_a_proxys_host();
  auto& table = world.view.tables[0];
  table.routes.routes[0].peers = {"umc/node", "umc/second"};
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"proxy", "function", "proxy", "proxy", "function", "proxy"}));
  EXPECT_NE(answer.hops[0].says.find("Proxy umc/proxy, asked by umc/node, has route r1"), std::string::npos) << answer.hops[0].says;
  EXPECT_NE(answer.hops[2].says.find("ask there with `epif trace --from umc/proxy`"), std::string::npos) << answer.hops[2].says;
  EXPECT_NE(answer.hops[3].says.find("asked by umc/second"), std::string::npos) << answer.hops[3].says;
  world.from = "umc/second";
  EXPECT_EQ(hops(world.ask("10.2.0.20:80")), (std::vector<std::string>{"proxy", "function", "proxy"}));
  world.dead_function = "firewall";
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused);
}

TEST(Walk, OnAProxysHostWhoHasNoRouteIsRefused) {
  auto world = on_a_proxys_host();
  world.from = "umc/other";
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::refused);
  EXPECT_NE(answer.hops.back().says.find("no route from umc/other"), std::string::npos) << answer.hops.back().says;
  world.from.clear();
  EXPECT_NE(world.ask("10.2.0.99:80").hops.back().says.find("refuses whoever asks"), std::string::npos);
  world.view.tables[0].routes.refusals = {{*CaptureTarget::parse("10.2.0.21:80"), "app/other", "consent is missing"}};
  EXPECT_NE(world.ask("10.2.0.21:80").hops.back().says.find("consent is missing"), std::string::npos);
  world.view.tables[0].answers = false;
  EXPECT_NE(world.ask("10.2.0.20:80").hops.back().says.find("does not run"), std::string::npos);
}

TEST(Walk, AProxyInClearIsAskedByAddress) {
  auto world = on_a_proxys_host();
  auto& only = world.view.tables[0].routes.routes[0];
  only.peers.clear();
  only.sources = {*Cidr::parse("10.1.0.0/24")};
  only.next.reset();
  EXPECT_EQ(hops(world.ask("10.2.0.20:80")), (std::vector<std::string>{"proxy", "function", "upstream"}));
  world.from = "10.1.0.77";
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::passes);
  world.from = "10.9.0.77";
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused);
}

TEST(Walk, TheNextProxyOnTheSameHostIsReachedByItsNeighboursWalkAlone) {
  auto world = on_a_proxys_host();
  auto last = world.view.tables[0];
  last.routes.node = "research/proxy";
  last.routes.routes[0].peers = {"umc/proxy"};
  last.routes.routes[0].next.reset();
  last.routes.routes[0].chain.clear();
  world.view.tables.push_back(last);
  EXPECT_EQ(hops(world.ask("10.2.0.20:80")), (std::vector<std::string>{"proxy", "function", "proxy", "upstream"}));
  world.from = "umc/proxy";
  world.view.tables.erase(world.view.tables.begin());
  EXPECT_EQ(hops(world.ask("10.2.0.20:80")), (std::vector<std::string>{"proxy", "upstream"}));
}

TEST(Walk, WhatNginxCarriesIsFollowedFromItsPortOnTheProxysHost) {
  auto world = on_a_proxys_host();
  auto& only = world.view.tables[0].routes.routes[0];
  only.next.reset();
  only.chain.clear();
  only.nginx = NginxPort{at("10.1.0.2:21000"), {*IpAddress::parse("10.1.0.33")}, false};
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"proxy", "upstream"}));
  EXPECT_NE(answer.hops[0].says.find("lets in 10.1.0.33"), std::string::npos) << answer.hops[0].says;
  world.from = "umc/other";
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused);
}

TEST(Walk, AFileThatItsProcessDoesNotServeIsToldAsSuch) {
  World world;
  world.view.tables[0].serves = 1;
  world.view.tables[1].serves = 1;
  EXPECT_EQ(hops(world.ask("10.2.0.20:80")), (std::vector<std::string>{"capture", "route", "proxy", "function", "proxy"}));
  world.view.tables[0].serves = 3;
  world.view.tables[1].serves = 0;
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"capture", "route", "route", "proxy", "proxy", "function", "proxy"}));
  EXPECT_EQ(answer.hops[1].state, State::unknown);
  EXPECT_EQ(answer.hops[1].says, "a is generation 1, but the redirector has generation 3: what follows is the file's, and not in force.");
  EXPECT_NE(answer.hops[3].says.find("has generation 0"), std::string::npos) << answer.hops[3].says;
  EXPECT_NE(print_text(world.ask("10.2.0.21:80")).find("would be refused, as far as this node can see"), std::string::npos);
}

TEST(Walk, AMalformedFileIsNoTableAndItsProcessGoesOn) {
  World world;
  auto& own = world.view.tables[0];
  own = {Role::redirector, "a", {}, "/run/r", true, 7, "a:1:2 no value"};
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_EQ(hops(answer), (std::vector<std::string>{"capture", "route"}));
  EXPECT_EQ(answer.hops[1].state, State::unknown);
  EXPECT_EQ(answer.hops[1].says, "The file is malformed (a:1:2 no value); the redirector goes on with generation 7, whose routes cannot be seen here.");
}

TEST(Walk, TheGenerationIsThatOfTheMetricAndNotOfItsHelp) {
  EXPECT_EQ(generation_told("# HELP epif_proxy_routes_generation 9 x\nepif_proxy_routes_generation 12\n"), 12u);
  EXPECT_EQ(generation_told("# HELP epif_proxy_routes_generation 9 x\n"), std::nullopt);
  EXPECT_EQ(generation_told("epif_redirect_routes_generation x"), std::nullopt);
}

TEST(Walk, OnlyMetricsOfAProxyOrARedirectorTellARole) {
  EXPECT_EQ(role_told("# TYPE x counter\nepif_proxy_connections_total 1\n"), Role::proxy);
  EXPECT_EQ(role_told("epif_redirect_connections_total 1\n"), Role::redirector);
  EXPECT_EQ(role_told("epif_agent_generation 1\n"), std::nullopt);
  EXPECT_EQ(role_told(""), std::nullopt);
}

TEST(Walk, ARedirectorThatOnlyDrainsDoesNotServe) {
  const std::string line = "0000000000000000: 00000002 00000000 00010000 0001 01 4711 @epif-redirect-";
  EXPECT_EQ(serving_ports(line + "15001\n" + line + "15002-drains-77-1f2e\n"), (std::vector<std::uint16_t>{15001}));
  EXPECT_EQ(serving_ports(line + "15001-drains-77-1f2e\n"), (std::vector<std::uint16_t>{}));
  EXPECT_EQ(serving_ports(line + "15001x\n" + line + "70000\n"), (std::vector<std::uint16_t>{}));
  EXPECT_EQ(serving_ports(line + "15001"), (std::vector<std::uint16_t>{15001}));
}

TEST(Walk, AnotherRedirectorsEmptyTableIsNotTakenForThisOnes) {
  World world;
  world.view.tables.insert(world.view.tables.begin(), Table{Role::redirector, "c", {"umc/other", 1, {}, {}}, {}, false});
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::passes);
}

TEST(Walk, ANameIsFoundInTheRoutes) {
  World world;
  EXPECT_EQ(world.ask("PACS.example:80").destination, "10.2.0.20:80");
}

TEST(Walk, AProxyIsAskedForTheRoutesNameSinceTheAddressIsOnlyAnAlias) {
  auto world = with_a_last_proxy();
  auto& last = world.view.tables[1].routes.routes[0];
  last.destination = *CaptureTarget::parse("10.7.0.7:80");
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_NE(answer.hops.back().says.find("connects to 10.7.0.7:80"), std::string::npos) << answer.hops.back().says;
  last.destination = *CaptureTarget::parse("10.7.0.0/16");
  const auto resolving = world.ask("10.2.0.20:80").hops.back();
  EXPECT_NE(resolving.says.find("connects to pacs.example:80 (at the address that its own resolver gives"), std::string::npos) << resolving.says;
  last.name = "other.example";
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused);
  last.destination = *CaptureTarget::parse("10.2.0.20:80");
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused) << "the alias gives no right there";
}

TEST(Walk, ARefusalSaysTheControlPlanesReason) {
  World world;
  const auto answer = world.ask("10.2.0.21:80");
  EXPECT_EQ(answer.verdict, Verdict::refused);
  EXPECT_NE(answer.hops.back().says.find("consent is missing"), std::string::npos);
}

TEST(Walk, AnExpiredRouteRefuses) {
  World world;
  world.view.now = now + std::chrono::hours(2);
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused);
}

TEST(Walk, WhatNoRuleCoversLeavesDirectlyAndIsSaidSo) {
  World world;
  const auto answer = world.ask("10.9.9.9:80");
  EXPECT_EQ(answer.verdict, Verdict::not_captured);
  EXPECT_NE(answer.hops.back().says.find("directly"), std::string::npos);
}

TEST(Walk, ADeadRedirectorRefuses) {
  World world;
  world.view.running.clear();
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::refused);
}

TEST(Walk, ADeadFunctionRefuses) {
  World world;
  world.dead_function = "firewall";
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::refused);
  EXPECT_EQ(answer.hops.back().hop, "function");
}

TEST(Walk, AProxyThatDoesNotKnowTheAskerRefuses) {
  World world;
  world.view.tables[1].routes.routes[0].peers = {"umc/other"};
  const auto answer = world.ask("10.2.0.20:80");
  EXPECT_EQ(answer.verdict, Verdict::refused);
  EXPECT_EQ(answer.hops.back().hop, "proxy");
}

TEST(Walk, AProxyIsTriedOnlyWhenAsked) {
  World world;
  world.unreachable = true;
  EXPECT_EQ(world.ask("10.2.0.20:80").verdict, Verdict::passes);
  EXPECT_EQ(world.ask("10.2.0.20:80", true).verdict, Verdict::refused);
}

TEST(Walk, AServerThatTheRulesCaptureIsNotTriedSinceTheRedirectorWouldAnswerForIt) {
  auto world = with_a_last_proxy();
  const auto answer = world.ask("10.2.0.20:80", true);
  EXPECT_EQ(answer.hops.back().hop, "upstream");
  EXPECT_NE(answer.hops.back().says.find("cannot be known from here"), std::string::npos) << answer.hops.back().says;
  EXPECT_EQ(world.tried, (decltype(world.tried){{"10.1.0.2:1083", 0}}));
}

TEST(Walk, AProxyThatTheRulesCaptureIsTriedAsTheRedirectorDoes) {
  auto world = with_a_last_proxy();
  world.view.guards[0].targets.push_back(*CaptureTarget::parse("10.1.0.0/24"));
  world.view.guards[0].mark = 0x1234;
  world.ask("10.2.0.20:80", true);
  EXPECT_EQ(world.tried, (decltype(world.tried){{"10.1.0.2:1083", 0x1234}}));
  world.tried.clear();
  world.view.guards[0].mark = 0;
  EXPECT_EQ(world.ask("10.2.0.20:80", true).verdict, Verdict::passes);
  EXPECT_TRUE(world.tried.empty());
}

TEST(Walk, ADatagramsServerIsNotAskedByAConnection) {
  auto world = with_a_last_proxy();
  world.protocol = Protocol::udp;
  for (auto& table : world.view.tables) table.routes.routes[0].protocol = Protocol::udp;
  world.view.guards[0].own.push_back(*CaptureTarget::parse("10.2.0.20:80"));
  world.view.guards[0].mark = 0x1234;
  const auto answer = world.ask("10.2.0.20:80", true);
  EXPECT_EQ(answer.verdict, Verdict::passes);
  EXPECT_NE(answer.hops.back().says.find("sends to 10.2.0.20:80"), std::string::npos) << answer.hops.back().says;
  EXPECT_EQ(world.tried, (decltype(world.tried){{"10.1.0.2:1083", 0}})) << "its proxy is not captured, and proxies are asked over TCP, for datagrams as well";
}

TEST(Walk, AMissingPortIsTakenFromTheRoutesIfThereIsOne) {
  World world;
  Question question;
  question.destination = {*IpAddress::parse("10.2.0.20"), 0};
  world.view.tables[0].routes.refusals.push_back({*CaptureTarget::parse("10.2.0.20"), "", "no application was granted another port"});
  EXPECT_EQ(resolve(question, world.view)->port, 80);
  world.view.tables[0].routes.routes.push_back(route("r2", "10.2.0.20:81"));
  EXPECT_EQ(resolve(question, world.view).error().code, Code::usage);
  question.destination = {std::string("nobody.example"), 80};
  EXPECT_EQ(resolve(question, world.view).error().code, Code::not_found);
}

TEST(Walk, RefusalsOfOtherDestinationsAndBrokenAnswersAreLeftOut) {
  constexpr std::string_view flows =
      R"({"flows":[],"refusals":[{"at":"t1","destination":"10.2.0.20:80","reason":"denied","message":"no consent"},{"at":"t2","destination":"x","reason":"r","message":"m"},7]})";
  EXPECT_EQ(refusals_of(flows, "10.2.0.20:80"), std::vector<std::string>{"t1 denied: no consent"});
  EXPECT_TRUE(refusals_of("{", "x").empty());
  EXPECT_TRUE(refusals_of("[]", "x").empty());
}

}  // namespace
}  // namespace epif::trace
