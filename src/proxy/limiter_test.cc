#include "proxy/limiter.h"

#include <gtest/gtest.h>

#include "proxy/admin.h"
#include "proxy/users.h"

namespace epif::proxy {
namespace {

TEST(Limiter, PlacesAreLimitedInAllBySourceAndByRouteAndComeBack) {
  Limiter limiter({3, 2});
  const auto one = *IpAddress::parse("10.0.0.1");
  const auto two = *IpAddress::parse("10.0.0.2");
  auto first = limiter.enter(one);
  auto second = limiter.enter(*IpAddress::parse("::ffff:10.0.0.1"));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(limiter.enter(one).error().code, Code::limit) << "per source";
  auto third = limiter.enter(two);
  ASSERT_TRUE(third);
  EXPECT_FALSE(limiter.enter(*IpAddress::parse("10.0.0.3"))) << "in all";
  *first = {};
  EXPECT_EQ(limiter.total(), 2u);
  EXPECT_TRUE(limiter.enter(one));
  auto route = limiter.enter_route("a", 1);
  ASSERT_TRUE(route);
  EXPECT_FALSE(limiter.enter_route("a", 1));
  *route = {};
  EXPECT_TRUE(limiter.enter_route("a", 1));
}

TEST(Users, AreReadAndChecked) {
  Users users;
  EXPECT_TRUE(users.empty());
  ASSERT_TRUE(users.add("ann:secret:with:colons"));
  EXPECT_TRUE(users.accepts("ann", "secret:with:colons"));
  EXPECT_FALSE(users.accepts("ann", "secret:with:colonS"));
  EXPECT_FALSE(users.accepts("ann", ""));
  EXPECT_FALSE(users.accepts("eve", "secret:with:colons"));
  for (const auto* bad : {"", "ann", ":x", "ann:"}) EXPECT_FALSE(users.add(bad)) << bad;
  const auto twice = users.add("ann:other");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().text().find("other"), std::string::npos) << "no secret in an error";
}

TEST(Admin, ReadsGetOnly) {
  EXPECT_EQ(path_of_request("GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"), "/metrics");
  EXPECT_EQ(path_of_request("POST /metrics HTTP/1.1\r\n\r\n"), "");
  EXPECT_EQ(path_of_request("GET  HTTP/1.1\r\n\r\n"), "");
  EXPECT_EQ(path_of_request("GET /metrics\r\n\r\n"), "");
}

}  // namespace
}  // namespace epif::proxy
