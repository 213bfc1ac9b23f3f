#include "admission/users.h"

#include <gtest/gtest.h>

namespace epif::admission {
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

}  // namespace
}  // namespace epif::admission
