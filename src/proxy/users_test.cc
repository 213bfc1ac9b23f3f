#include "proxy/users.h"

#include <gtest/gtest.h>

#include "proxy/admin.h"

namespace epif::proxy {
namespace {

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
