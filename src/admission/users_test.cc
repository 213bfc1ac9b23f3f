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

TEST(Users, AProofIsTheSameForTheSameNameAndPasswordAlone) {
  const auto of = [](std::string_view user, std::string_view name, std::string_view salt) {
    Users users;
    EXPECT_TRUE(users.add(user));
    return users.proof(name, as_bytes(salt));
  };
  const auto proof = of("ann:secret", "ann", "1");
  EXPECT_EQ(proof.size(), 32u);
  EXPECT_EQ(of("ann:secret", "ann", "1"), proof);
  EXPECT_NE(of("ann:secreT", "ann", "1"), proof);
  EXPECT_NE(of("ann:secret", "ann", "2"), proof);
  EXPECT_NE(of("anns:ecret", "anns", "1"), proof);
  EXPECT_TRUE(of("ann:secret", "bob", "1").empty());
}

}  // namespace
}  // namespace epif::admission
