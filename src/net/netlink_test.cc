#include "net/netlink.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cstring>

namespace epif::net {
namespace {

constexpr std::uint32_t as_it_is = 0;

/// A message of this type; `told`: the length that its header tells, if another than its own.
Bytes message(std::uint16_t type, std::string_view body, std::uint32_t told = as_it_is) {
  nlmsghdr header{};
  header.nlmsg_len = told != as_it_is ? told : static_cast<std::uint32_t>(NLMSG_HDRLEN + body.size());
  header.nlmsg_type = type;
  header.nlmsg_flags = NLM_F_MULTI;
  header.nlmsg_seq = 7;
  header.nlmsg_pid = 8;
  Bytes whole(NLMSG_HDRLEN);
  std::memcpy(whole.data(), &header, sizeof header);
  whole.insert(whole.end(), body.begin(), body.end());
  return whole;
}

Bytes padded(Bytes one) {
  one.resize(NLMSG_ALIGN(one.size()));
  return one;
}

Bytes operator+(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

struct Seen {
  std::vector<std::pair<std::uint16_t, std::string>> messages;
  bool fits = false;
};

Seen walk(ByteSpan bytes) {
  Seen seen;
  seen.fits = each_message(bytes, [&](const NetlinkMessage& one) {
    seen.messages.emplace_back(one.type, std::string(as_text(one.body)));
    return true;
  });
  return seen;
}

TEST(NetlinkMessages, EachIsSeenWithItsBodyAndTheLastNeedsNoPadding) {
  const auto seen = walk(padded(message(1, "a")) + padded(message(2, "")) + message(3, "abcde"));
  EXPECT_TRUE(seen.fits);
  EXPECT_EQ(seen.messages, (std::vector<std::pair<std::uint16_t, std::string>>{{1, "a"}, {2, ""}, {3, "abcde"}}));
  EXPECT_TRUE(walk({}).fits) << "nothing at all";
  EXPECT_TRUE(each_message(message(1, "a"), [](const NetlinkMessage& one) {
    EXPECT_EQ((std::tuple{one.flags, one.sequence, one.port}), (std::tuple{NLM_F_MULTI, 7u, 8u}));
    return true;
  }));
}

TEST(NetlinkMessages, WhoHasSeenEnoughSeesNoMore) {
  int calls = 0;
  EXPECT_TRUE(each_message(padded(message(1, "a")) + message(2, "b", 3), [&](const NetlinkMessage&) { return ++calls < 1; }));
  EXPECT_EQ(calls, 1);
}

TEST(NetlinkMessages, ALengthThatLiesEndsTheWalkAndWhatStoodBeforeWasSeen) {
  const auto first = padded(message(1, "good"));
  for (const std::uint32_t told : {1u, 15u, 22u, 64u, 0x7fffffffu, 0xfffffff0u, 0xfffffffdu, 0xffffffffu}) {
    const auto seen = walk(first + message(2, "short", told));
    EXPECT_FALSE(seen.fits) << told;
    EXPECT_EQ(seen.messages.size(), 1u) << told;
  }
  auto empty = message(2, "");
  std::memset(empty.data(), 0, sizeof(std::uint32_t));
  EXPECT_FALSE(walk(first + empty).fits) << "of length 0, which would be walked for ever";
}

TEST(NetlinkMessages, WhereverTheyAreCutNothingBehindIsRead) {
  const auto whole = padded(message(1, "abc")) + padded(message(2, "defghi"));
  const auto first = padded(message(1, "abc")).size();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));  // its own memory, so that a sanitizer sees
    const auto seen = walk(cut);
    const bool second_is_there = size >= first + NLMSG_HDRLEN + 6;
    EXPECT_EQ(seen.messages.size(), (size >= NLMSG_HDRLEN + 3 ? 1u : 0u) + (second_is_there ? 1u : 0u)) << size;
    const bool between = size == 0 || (size >= NLMSG_HDRLEN + 3 && size <= first) || second_is_there;
    EXPECT_EQ(seen.fits, between) << size;
  }
}

}  // namespace
}  // namespace epif::net
