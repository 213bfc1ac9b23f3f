#include "nginx/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nginx/sample.h"

namespace epif::nginx {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Gate, OnlyTheClientsOfOpenRoutesPassAndTheRestIsReset) {
  const auto open = sample::route("a", "f", "10.1.0.2:21000", {"10.1.0.10"}, "10.2.0.10:80");
  const auto text = gate_script("epif_nginx_x", {open},
                                {*SocketAddress::parse("10.1.0.2:21000"), *SocketAddress::parse("10.1.0.2:21001")});
  EXPECT_TRUE(text.starts_with("add table inet epif_nginx_x\ndelete table inet epif_nginx_x\ntable inet epif_nginx_x {\n"));
  EXPECT_THAT(text, HasSubstr("elements = { 10.1.0.10 . 10.1.0.2 . 21000 }"));
  EXPECT_THAT(text, HasSubstr("elements = { 10.1.0.2 . 21000, 10.1.0.2 . 21001 }"));
  EXPECT_THAT(text, HasSubstr("    ip saddr . ip daddr . tcp dport @open4 accept\n    ip daddr . tcp dport @listening4 "
                              "counter reject with tcp reset\n"));
  EXPECT_THAT(text, HasSubstr("    ip daddr . ip saddr . tcp sport @open4 accept\n    ip saddr . tcp sport @listening4 tcp "
                              "flags & rst == 0 counter drop\n"));
}

TEST(Gate, AnOpenPortIsGuardedAgainstOthersBeforeNginxListens) {
  const auto text =
      gate_script("t", {sample::route("a", "f", "[fd01::2]:21000", {"fd01::10", "fd01::11"}, "[fd02::10]:80")}, {});
  EXPECT_THAT(text, HasSubstr("elements = { fd01::10 . fd01::2 . 21000, fd01::11 . fd01::2 . 21000 }"));
  EXPECT_THAT(text, HasSubstr("elements = { fd01::2 . 21000 }"));
}

TEST(Gate, WithNothingToGuardThereAreNoElements) {
  EXPECT_THAT(gate_script("t", {}, {}), Not(HasSubstr("elements")));
}

TEST(Gate, TwoFoldersHaveTwoTables) {
  EXPECT_NE(gate_name("/run/a"), gate_name("/run/b"));
}

}  // namespace
}  // namespace epif::nginx
