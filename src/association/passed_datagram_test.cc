#include "association/passed_datagram.h"

#include <gtest/gtest.h>

namespace epif::association {
namespace {

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }

TEST(PassedDatagram, ManyComeOutAsTheyWentIn) {
  const Bytes large(65'000, 7);
  const std::vector<PassedDatagram> all{{{address("127.0.0.1"), 1080}, {address("10.0.0.7"), 5353}, IpAddress(), {}},
                                        {{address("::"), 1080}, {address("2001:db8::1"), 65'535}, address("fd00::9"), large},
                                        {{address("0.0.0.0"), 1}, {address("10.0.0.7"), 0}, address("192.0.2.1"), as_bytes("x")}};
  Bytes message;
  std::size_t payloads = 0;
  for (const auto& one : all) {
    append(message, one);
    payloads += one.payload.size();
  }
  EXPECT_EQ(message.size(), payloads + all.size() * passed_head_bytes);
  std::size_t seen = 0;
  EXPECT_TRUE(each_passed(message, [&](const PassedDatagram& one) {
    const auto& wanted = all.at(seen++);
    EXPECT_EQ(one.port, wanted.port);
    EXPECT_EQ(one.from, wanted.from);
    EXPECT_EQ(one.local, wanted.local);
    EXPECT_TRUE(std::ranges::equal(one.payload, wanted.payload));
  }));
  EXPECT_EQ(seen, all.size());
}

TEST(PassedDatagram, WhatIsCutOrLiesIsNotRead) {
  Bytes message;
  append(message, {{address("127.0.0.1"), 1080}, {address("10.0.0.7"), 5353}, address("127.0.0.1"), as_bytes("payload")});
  const auto count = [](ByteSpan bytes, bool& fits) {
    int calls = 0;
    fits = each_passed(bytes, [&](const PassedDatagram&) { ++calls; });
    return calls;
  };
  bool fits = false;
  for (std::size_t size = 1; size < message.size(); ++size) {
    const Bytes cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(count(cut, fits), 0) << size;
    EXPECT_FALSE(fits) << size;
  }
  for (const std::size_t family : {std::size_t{0}, std::size_t{19}, std::size_t{38}}) {
    auto other = message;
    other.at(family) = 5;
    EXPECT_EQ(count(other, fits), 0) << family;
    EXPECT_FALSE(fits) << family;
  }
  auto more = message;
  store_u32(more.data() + passed_head_bytes - 4, 0xffffffff);
  EXPECT_EQ(count(more, fits), 0);
  EXPECT_FALSE(fits);
  EXPECT_EQ(count({}, fits), 0);
  EXPECT_TRUE(fits) << "nothing at all";
}

}  // namespace
}  // namespace epif::association
