#include "agent/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace epif::agent {
namespace {

using testing::HasSubstr;

Assignment assignment() {
  Assignment out;
  out.node = "umc/proxy";
  out.role = Role::proxy;
  out.instances = {{"encrypt", "encrypt", "sha256:aa", false}};
  Route plain;
  plain.id = "plain";
  Route chained;
  chained.id = "chained";
  ChainLink link;
  link.function = link.instance = "encrypt";
  link.socket = unknown_socket;
  chained.chain = {link};
  out.routes.routes = {plain, chained};
  return out;
}

InstanceViews running_as(WishedInstance what, std::int64_t pid = 42) {
  return {{what.name, {"running", {}, "/bf/encrypt/bf.sock", pid, what}}};
}

TEST(Table, a_function_that_runs_as_something_else_than_is_wished_blocks_its_routes) {
  const auto wish = assignment().instances[0];
  for (const auto& other : {WishedInstance{"encrypt", "encrypt", "sha256:bb", false}, {"encrypt", "encrypt", "sha256:aa", true},
                            {"encrypt", "decrypt", "sha256:aa", false}}) {
    const auto table = complete(assignment(), running_as(other), 1);
    EXPECT_TRUE(table.routes[0].blocked.empty());
    EXPECT_THAT(table.routes[1].blocked, HasSubstr("encrypt is starting"));
    EXPECT_EQ(table.routes[1].chain[0].peer_pid, 0);
    EXPECT_EQ(as_wished(assignment(), running_as(other, ::getpid())).at("encrypt").state, "starting");
  }
  EXPECT_EQ(as_wished(assignment(), running_as(wish, ::getpid())).at("encrypt").state, "running");
  auto trusted_route = assignment();
  trusted_route.routes.routes[1].chain[0].trusted = true;
  EXPECT_FALSE(complete(trusted_route, running_as(wish), 1).routes[1].blocked.empty()) << "a route trusts no untrusted function";
}

TEST(Table, a_running_function_gets_its_socket_and_process) {
  const auto table = complete(assignment(), running_as(assignment().instances[0]), 7);
  EXPECT_EQ(table.generation, 7u);
  EXPECT_EQ(table.node, "umc/proxy");
  EXPECT_TRUE(table.routes[1].blocked.empty());
  EXPECT_EQ(table.routes[1].chain[0].socket, "/bf/encrypt/bf.sock");
  EXPECT_EQ(table.routes[1].chain[0].peer_pid, 42);
}

TEST(Table, a_function_that_does_not_run_blocks_its_routes_and_no_others) {
  for (const auto& views : {InstanceViews{}, InstanceViews{{"encrypt", {"starting", "it ended and is being replaced", {}, 0}}}}) {
    const auto table = complete(assignment(), views, 1);
    EXPECT_TRUE(table.routes[0].blocked.empty());
    EXPECT_THAT(table.routes[1].blocked, HasSubstr("encrypt is starting"));
  }
}

TEST(Table, a_route_that_goes_is_blocked_ends_sooner_or_changes_is_taken_away) {
  auto before = complete(assignment(), running_as(assignment().instances[0]), 1);
  for (auto& route : before.routes) route.expires = std::chrono::sys_seconds(std::chrono::seconds(1'000));
  EXPECT_FALSE(takes_away(before, before));
  const auto changed = [&](auto change) {
    auto after = before;
    change(after.routes[1]);
    return takes_away(before, after);
  };
  EXPECT_TRUE(changed([](Route& route) { route.id = "another"; }));
  EXPECT_TRUE(changed([](Route& route) { route.blocked = "revoked"; }));
  EXPECT_TRUE(changed([](Route& route) { route.expires -= std::chrono::seconds(1); }));
  EXPECT_TRUE(changed([](Route& route) { route.chain.clear(); }));
  EXPECT_FALSE(changed([](Route& route) { route.expires += std::chrono::seconds(1); }));
  EXPECT_FALSE(changed([](Route& route) { route.chain[0].peer_pid = 43; }));
  before.routes[1].blocked = "encrypt is starting";
  EXPECT_FALSE(changed([](Route& route) { route.id = "another"; })) << "it was closed already";
}

TEST(Table, what_runs_after_a_restart_of_the_agent_gives_the_same_table) {
  const auto views = running_as(assignment().instances[0], ::getpid());
  const auto written = complete(assignment(), views, 3);
  const auto adopted = running_instances(known_instances(views), written);
  EXPECT_EQ(adopted, views);
  EXPECT_EQ(complete(assignment(), adopted, 3), written);
}

TEST(Table, what_an_earlier_agent_left_is_adopted_as_what_it_was_started_as) {
  const auto views = running_as(assignment().instances[0], ::getpid());
  const auto written = complete(assignment(), views, 3);
  auto next = assignment();
  next.instances[0].trusted = next.routes.routes[1].chain[0].trusted = true;
  EXPECT_FALSE(complete(next, running_instances(known_instances(views), written), 4).routes[1].blocked.empty());
  EXPECT_TRUE(running_instances({}, written).empty()) << "nobody knows what it is";
  EXPECT_TRUE(running_instances({{assignment().instances[0], 1}}, written).empty()) << "another process";
}

TEST(Table, a_function_whose_process_died_with_the_agent_is_not_adopted) {
  const auto views = running_as(assignment().instances[0], 0x7ffffff0);
  EXPECT_TRUE(running_instances(known_instances(views), complete(assignment(), views, 3)).empty());
}

}  // namespace
}  // namespace epif::agent
