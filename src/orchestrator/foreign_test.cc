#include "orchestrator/foreign.h"

#include <gtest/gtest.h>

#include <random>

namespace epif::orchestrator {
namespace {

void add(ResourceSet& all, const std::string& domain, const std::string& name, std::vector<IpAddress> addresses) {
  Node node;
  node.metadata.domain = domain;
  node.metadata.name = name;
  node.addresses = std::move(addresses);
  all.nodes[domain + "/" + name] = std::move(node);
}

IpAddress address(std::uint32_t number) {
  const std::array<std::uint8_t, 4> bytes{static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
                                          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
  return IpAddress::v4(bytes);
}
IpAddress address(const char* text) { return *IpAddress::parse(text); }

std::vector<std::string> texts(const std::vector<ForeignBlock>& blocks) {
  std::vector<std::string> out;
  for (const auto& one : blocks) out.push_back(one.block.text() + " " + one.node + " " + one.domain);
  return out;
}

using Texts = std::vector<std::string>;

TEST(Foreign, neighbouring_addresses_become_one_block_that_names_what_it_is) {
  ResourceSet all;
  add(all, "a", "x", {address("10.1.0.4")});
  add(all, "b", "one", {address("10.2.0.0"), address("10.2.0.1"), address("fd02::2")});
  add(all, "b", "two", {address("10.2.0.2")});
  add(all, "b", "three", {address("10.2.0.3"), address("fd02::1")});
  add(all, "c", "four", {address("10.2.0.4")});
  add(all, "c", "five", {address("10.2.0.5"), address("fd02::3")});
  EXPECT_EQ(texts(Addresses(all).outside("a")),
            (Texts{"10.2.0.0/30  b", "10.2.0.4/31  c", "fd02::1/128 b/three b", "fd02::2/127  "}));
  EXPECT_EQ(texts(Addresses(all).outside("b")), (Texts{"10.1.0.4/32 a/x a", "10.2.0.4/31  c", "fd02::3/128 c/five c"}));
  EXPECT_EQ(texts(Addresses(all).outside("c")).front(), "10.1.0.4/32 a/x a");
}

TEST(Foreign, blocks_hold_every_foreign_address_and_no_other) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    ResourceSet all;
    std::vector<int> owner(512, -1);
    for (int at = 0; at < 512; ++at) {
      const auto who = static_cast<int>(random() % (2 + static_cast<unsigned>(round) % 4)) - 1;
      if (who < 0) continue;
      owner[static_cast<std::size_t>(at)] = who;
      add(all, std::string(1, static_cast<char>('a' + who)), "n" + std::to_string(at), {address(0x0A00FF00u + static_cast<std::uint32_t>(at))});
    }
    const auto blocks = Addresses(all).outside("a");
    for (int at = -2; at < 514; ++at) {
      const auto candidate = address(0x0A00FF00u + static_cast<std::uint32_t>(at));
      const bool foreign = at >= 0 && at < 512 && owner[static_cast<std::size_t>(at)] > 0;
      const auto holding = std::ranges::count_if(blocks, [&](const ForeignBlock& one) { return one.block.contains(candidate); });
      ASSERT_EQ(holding, foreign ? 1 : 0) << candidate.text() << " in round " << round;
    }
  }
}

TEST(Foreign, a_full_subnet_is_one_block_and_scattered_addresses_stay_single) {
  ResourceSet full;
  ResourceSet scattered;
  for (std::uint32_t at = 0; at < 1024; ++at) {
    add(full, "b", "n" + std::to_string(at), {address(0x0A020000u + at)});
    add(scattered, "b", "n" + std::to_string(at), {address(0x0A020000u + 2 * at)});
  }
  EXPECT_EQ(texts(Addresses(full).outside("a")), (Texts{"10.2.0.0/22  b"}));
  EXPECT_EQ(Addresses(scattered).outside("a").size(), 1024u);
}

}  // namespace
}  // namespace epif::orchestrator
