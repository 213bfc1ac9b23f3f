#include "proxy/trunks.h"

#include <gtest/gtest.h>

namespace epif::proxy {
namespace {

const IpAddress here = *IpAddress::parse("10.0.0.1");
const IpAddress there = *IpAddress::parse("10.0.0.2");

TEST(Trunks, a_token_leads_its_own_client_to_its_trunk_and_nobody_else) {
  Trunks trunks;
  const auto clear = trunks.add({nullptr, {}, {}, here}).value();
  const auto certified = trunks.add({nullptr, {}, "umc/modality", here}).value();
  EXPECT_NE(clear, certified);
  EXPECT_TRUE(trunks.find(clear, {}, here));
  EXPECT_FALSE(trunks.find(clear, {}, there));
  EXPECT_FALSE(trunks.find(clear, "umc/modality", here));
  EXPECT_TRUE(trunks.find(certified, "umc/modality", there));  // a host may have several addresses
  EXPECT_FALSE(trunks.find(certified, "vendor/backup", here));
  EXPECT_FALSE(trunks.find(certified, {}, here));
  EXPECT_FALSE(trunks.find({}, {}, here));
  trunks.remove(clear);
  EXPECT_FALSE(trunks.find(clear, {}, here));
}

}  // namespace
}  // namespace epif::proxy
