#include "admission/chain_metadata.h"

#include <gtest/gtest.h>

namespace epif::admission {
namespace {

const Leg leg{*SocketAddress::parse("10.1.0.2:1080"), *IpAddress::parse("10.1.0.10")};
const std::string root = "socks6://root:1080", client = "socks6://10.1.0.10:1080", own = "socks6://10.1.0.2:1080",
                  next = "socks6://10.3.0.2:1080", other = "socks6://10.9.9.9:1080";

Route to(const char* proxy) {
  Route route;
  route.id = "r";
  if (proxy != nullptr) route.next = NextHop{*SocketAddress::parse(proxy), {}, {}, Dialect::socksx};
  return route;
}

TEST(ChainMetadata, IsConfirmedWhereEachLinkIsTheRoutesOrTheConnections) {
  const auto last = to(nullptr), passing = to("10.3.0.2:1080");
  for (const auto& [index, links] : {std::pair<std::size_t, std::vector<std::string>>{0, {root}}, {0, {own}}, {1, {root, own}}, {2, {root, client, own}}}) {
    EXPECT_TRUE(confirm({index, links}, last, leg)) << index;
    EXPECT_FALSE(confirm({index, links}, passing, leg)) << "the route's next proxy is left out";
    auto further = links;
    further.push_back(next);
    EXPECT_TRUE(confirm({index, further}, passing, leg)) << index;
    EXPECT_FALSE(confirm({index, further}, last, leg)) << "the route has no next proxy";
    further.push_back(other);
    EXPECT_FALSE(confirm({index, further}, passing, leg)) << "behind the next proxy the route names none";
  }
}

TEST(ChainMetadata, OneWrongLinkAnywhereIsRefusedAndNamed) {
  const std::vector<std::string> good{root, client, own, next};
  const auto route = to("10.3.0.2:1080");
  ASSERT_TRUE(confirm({2, good}, route, leg));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const auto& wrong : {other, std::string("socks5://10.1.0.2:1080"), std::string("10.1.0.2:1080"), std::string("socks6://proxy.example:1080")}) {
      auto bad = good;
      bad[at] = wrong;
      const auto refused = confirm({2, bad}, route, leg);
      ASSERT_FALSE(refused) << at << " " << wrong;
      EXPECT_EQ(refused.error().code, Code::denied);
      EXPECT_NE(refused.error().text().find(wrong), std::string::npos);
    }
  }
  EXPECT_FALSE(confirm({1, good}, route, leg)) << "an index that makes the client this proxy";
  EXPECT_FALSE(confirm({3, {root, other, client, own, next}}, route, leg)) << "a proxy before the client, which nothing confirms";
}

TEST(ChainMetadata, AnAddressIsTheSameWhetherMappedOrNot) {
  const Leg mapped{*SocketAddress::parse("[::ffff:10.1.0.2]:1080"), *IpAddress::parse("::ffff:10.1.0.10")};
  EXPECT_TRUE(confirm({2, {root, client, own}}, to(nullptr), mapped));
}

}  // namespace
}  // namespace epif::admission
