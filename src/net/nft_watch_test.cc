#include "net/nft_watch.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cstring>

#include "net/netlink.h"

namespace epif::net {
namespace {

using Kind = NftNews::Kind;

constexpr std::uint32_t somebody = 77;

/// A message about `table`, as the kernel tells it to listeners.
Bytes message(int type, std::string_view table, std::uint32_t from = somebody) {
  Bytes body(sizeof(nfgenmsg));
  Bytes name(table.begin(), table.end());
  name.push_back(0);
  put_attribute(body, 1, name);
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_HDRLEN + body.size());
  header.nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
  header.nlmsg_pid = from;
  Bytes whole(NLMSG_HDRLEN);
  std::memcpy(whole.data(), &header, sizeof header);
  whole.insert(whole.end(), body.begin(), body.end());
  return whole;
}

Bytes operator+(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

const Bytes end = message(NFT_MSG_NEWGEN, "");

Kind after(const Bytes& messages) {
  NftNews news("mine");
  news.read(messages);
  return news.take();
}

TEST(NftNews, ADeletedTableIsToBeLookedFor) {
  EXPECT_EQ(after(message(NFT_MSG_DELRULE, "mine") + message(NFT_MSG_DELTABLE, "mine") + end), Kind::look);
}

TEST(NftNews, WhoReplacesTheTableInOneTransactionHasNotAlteredIt) {
  const auto made = message(NFT_MSG_NEWTABLE, "mine") + message(NFT_MSG_NEWRULE, "mine");
  EXPECT_EQ(after(message(NFT_MSG_DELTABLE, "mine") + made + end), Kind::look);
}

TEST(NftNews, ARuleMoreOrLessIsAChange) {
  EXPECT_EQ(after(message(NFT_MSG_DELRULE, "mine") + end), Kind::changed);
  EXPECT_EQ(after(message(NFT_MSG_NEWRULE, "mine") + end), Kind::changed);
}

TEST(NftNews, OtherTablesAreNobodysBusiness) {
  EXPECT_EQ(after(message(NFT_MSG_DELTABLE, "mine_too") + message(NFT_MSG_DELRULE, "min") + end), Kind::none);
}

TEST(NftNews, TheKernelsOwnChangesAreFollowedElsewhere) { EXPECT_EQ(after(message(NFT_MSG_DELCHAIN, "mine", 0) + end), Kind::none); }

TEST(NftNews, ATransactionMayComeInPieces) {
  NftNews news("mine");
  news.read(message(NFT_MSG_DELRULE, "mine"));
  EXPECT_EQ(news.take(), Kind::none);
  news.read(message(NFT_MSG_DELTABLE, "mine") + message(NFT_MSG_NEWTABLE, "mine"));
  EXPECT_EQ(news.take(), Kind::none);
  news.read(end);
  EXPECT_EQ(news.take(), Kind::look);
}

TEST(NftNews, ALostOrCutMessageIsToBeLookedAt) {
  NftNews news("mine");
  news.lost();
  EXPECT_EQ(news.take(), Kind::look);
  EXPECT_EQ(news.take(), Kind::none);
  auto cut = message(NFT_MSG_DELTABLE, "mine");
  cut.pop_back();
  news.read(cut);
  EXPECT_EQ(news.take(), Kind::look);
}

}  // namespace
}  // namespace epif::net
