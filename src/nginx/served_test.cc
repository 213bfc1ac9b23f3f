#include "nginx/served.h"

#include <gtest/gtest.h>

#include "nginx/sample.h"

namespace epif::nginx {
namespace {

constexpr std::chrono::sys_seconds now{std::chrono::seconds(1'795'000'000)};

Route one(std::string id = "a") {
  return sample::route(std::move(id), "app/f", "10.1.0.2:21000", {"10.1.0.10"}, "10.2.0.10:80");
}

TEST(Served, BlockedExpiredAndForeignRoutesAreNot) {
  RouteTable table;
  table.routes = {one("served"), one("blocked"), one("expired"), one("nobody"), one("by-socks")};
  table.routes[1].blocked = "consent was withdrawn";
  table.routes[2].expires = now;
  table.routes[3].nginx->clients.clear();
  table.routes[4].nginx.reset();
  const auto made = served(table, now);
  ASSERT_EQ(made.size(), 1u);
  ASSERT_EQ(made.at("umc/modality").size(), 1u);
  EXPECT_EQ(made.at("umc/modality").front().id, "served");
}

TEST(Served, EachClientHasItsOwn) {
  RouteTable table;
  table.routes = {one("a"), one("b"), one("c")};
  table.routes[1].peers = {"umc/other"};
  table.routes[2].peers.clear();
  EXPECT_EQ(served(table, now).size(), 3u);
}

TEST(Served, ARenewedPermitIsTheSameAndAnythingElseIsNot) {
  auto renewed = one();
  renewed.expires = now + std::chrono::hours(24);
  renewed.policy_version = "13";
  EXPECT_TRUE(withdrawn({one()}, {renewed}).empty());
  auto purpose = one();
  purpose.purpose = "research";
  EXPECT_EQ(withdrawn({one()}, {purpose}).size(), 1u);
  EXPECT_EQ(withdrawn({one()}, {}).size(), 1u);
}

TEST(Served, TheNextEndIsTheEarliestThatIsStillToCome) {
  RouteTable table;
  table.routes = {one("a"), one("b"), one("c")};
  EXPECT_EQ(next_end(table, now), std::chrono::sys_seconds{});
  table.routes[0].expires = now - std::chrono::seconds(1);
  table.routes[1].expires = now + std::chrono::seconds(9);
  table.routes[2].expires = now + std::chrono::seconds(5);
  EXPECT_EQ(next_end(table, now), now + std::chrono::seconds(5));
}

TEST(Served, FolderNamesAreDifferentForDifferentClientsAndLeadNowhereElse) {
  EXPECT_EQ(folder_name("umc/modality-1"), "umc_modality-1");
  EXPECT_EQ(folder_name("../../etc"), "%2e%2e_%2e%2e_etc");
  EXPECT_EQ(folder_name("a_b"), "a%5fb");
}

}  // namespace
}  // namespace epif::nginx
