#include "orchestrator/aliases.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace epif::orchestrator {
namespace {

const Cidr range = *Cidr::parse("198.18.0.0/15");
const ResourceSet nobody;

TEST(Aliases, a_name_keeps_its_address_whatever_comes_and_goes) {
  const auto first = AliasBook(range, {}, nobody).take("pacs.research");
  ASSERT_TRUE(first);
  EXPECT_TRUE(range.contains(*first));
  EXPECT_EQ(AliasBook(range, {}, nobody).take("pacs.research"), first) << "nothing depends on who asks first";
  AliasBook later(range, {{"archive.vendor", *first}}, nobody);
  EXPECT_NE(later.take("pacs.research"), first) << "what was assigned before counts";
  EXPECT_EQ(later.take("archive.vendor"), first);
}

TEST(Aliases, no_two_names_share_an_address_and_a_full_range_is_an_answer) {
  AliasBook book(Cidr::parse("10.9.0.0/28").value(), {}, nobody);
  std::set<IpAddress> seen;
  for (int i = 0; i < 14; ++i) {
    const auto alias = book.take(fmt::format("node-{}", i));
    ASSERT_TRUE(alias);
    EXPECT_TRUE(seen.insert(*alias).second) << alias->text();
  }
  EXPECT_EQ(seen.begin()->text(), "10.9.0.1");
  EXPECT_EQ(seen.rbegin()->text(), "10.9.0.14");
  EXPECT_FALSE(book.take("one-more"));
  EXPECT_TRUE(book.take("node-3"));
}

TEST(Aliases, a_range_in_which_addresses_mean_more_than_a_machine_is_refused) {
  for (const auto* good : {"198.18.0.0/15", "10.0.0.0/8", "100.64.0.0/10", "169.253.0.0/16", "223.255.255.252/30", "240.0.0.0/16"}) {
    const auto made = parse_alias_range(good);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->text(), good);
  }
  for (const auto* bad : {"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "0.1.0.0/16", "127.0.0.0/8", "127.5.0.0/16", "126.0.0.0/7", "169.254.0.0/16",
                          "169.254.7.0/24", "169.254.0.0/15", "224.0.0.0/4", "239.1.0.0/16", "255.255.255.252/30", "240.0.0.0/4", "::/0", "fe80::/10",
                          "ff00::/8", "::1/128", "fd00::/8", "::ffff:127.0.0.0/104", "198.18.0.1/32", "198.18.0.0/31", "198.18.0.1/15", "x", ""}) {
    const auto made = parse_alias_range(bad);
    ASSERT_FALSE(made) << bad;
    EXPECT_EQ(made.error().code, Code::usage) << bad;
    EXPECT_NE(made.error().text().find("--alias-range"), std::string::npos) << made.error().text();
  }
  EXPECT_NE(parse_alias_range("127.0.0.0/8").error().text().find("holds addresses of loopback"), std::string::npos);
}

TEST(Aliases, a_machines_address_is_never_given_but_the_range_stays_and_names_keep_theirs) {
  const auto alias = AliasBook(range, {}, nobody).take("y");
  ASSERT_TRUE(alias);
  ResourceSet resources;
  resources.nodes["b/x"].addresses = {*alias};
  EXPECT_EQ(AliasBook(range, {{"y", *alias}}, resources).take("y"), alias) << "what programs have been told keeps its meaning";
  const auto another = AliasBook(range, {}, resources).take("y");
  ASSERT_TRUE(another);
  EXPECT_NE(another, alias);
  EXPECT_NE(alias_clash("b/x", resources.nodes["b/x"], range).find("b/x has the address " + alias->text()), std::string::npos);
  EXPECT_EQ(alias_clash("b/x", resources.nodes["b/x"], {}), "");
  EXPECT_EQ(alias_clash("b/x", resources.nodes["b/x"], Cidr::parse("10.9.0.0/16").value()), "");
}

TEST(Aliases, a_name_of_two_nodes_has_none) {
  ResourceSet resources;
  resources.nodes["a/x"].hostname = resources.nodes["b/x"].hostname = "x";
  EXPECT_FALSE(AliasBook(range, {}, resources).take("x"));
  EXPECT_TRUE(AliasBook(range, {}, resources).take("y"));
  EXPECT_FALSE(AliasBook({}, {}, nobody).take("y"));
}

}  // namespace
}  // namespace epif::orchestrator
