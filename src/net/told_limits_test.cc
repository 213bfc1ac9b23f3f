#include "net/told_limits.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace epif::net {
namespace {

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }

TEST(ToldLimits, changes_name_what_is_new_what_is_other_and_what_is_no_more) {
  const Limiter::Held before{.sources = {{address("10.0.0.1"), {1, 0, 0}}, {address("10.0.0.2"), {2, 0, 0}}}, .routes = {{"a", 1}}};
  const Limiter::Held now{.sources = {{address("10.0.0.2"), {2, 1, 0}}, {address("10.0.0.3"), {3, 0, 0}}}, .routes = {}};
  const auto told = changes(before, now);
  EXPECT_EQ(told.sources, (std::map<IpAddress, Limiter::Load>{
                              {address("10.0.0.1"), {}}, {address("10.0.0.2"), {2, 1, 0}}, {address("10.0.0.3"), {3, 0, 0}}}));
  EXPECT_EQ(told.routes, (std::map<std::string, std::uint32_t>{{"a", 0}}));
  EXPECT_TRUE(changes(now, now).sources.empty());
}

TEST(ToldLimits, counts_and_rates_name_whose_they_are_and_each_message_fits) {
  Limiter::Held held;
  Limiter::Rates rates{.all = 12.5, .sources = {}};
  for (int i = 0; i < 5'000; ++i) {
    const auto source = address(fmt::format("10.0.{}.{}", i / 250, i % 250));
    held.sources[source] = {static_cast<std::uint32_t>(i), 1, 2};
    rates.sources[source] = i / 3.0;
  }
  Limiter::Held all;
  for (const auto& text : print_counts("dns_queries", held)) {
    EXPECT_LE(text.size(), limits::handover_message_max_bytes);
    const auto told = parse_limits(text);
    ASSERT_TRUE(told);
    const auto& counts = std::get<ToldCounts>(*told);
    EXPECT_EQ(counts.of, "dns_queries");
    all.sources.insert(counts.held.sources.begin(), counts.held.sources.end());
  }
  EXPECT_EQ(all, held);
  const auto pages = print_rates("connections", rates);
  EXPECT_GT(pages.size(), 1u);
  EXPECT_EQ(std::get<ToldRates>(*parse_limits(pages.front())).rates.all, 12.5);
  for (const auto* wrong : {"", "{", "{}", R"({"counts":[]})", R"({"rates":{"of":"a"}})", R"({"state_told":true})",
                            R"({"counts":{"of":"a"},"rates":{}})"}) {
    const auto told = parse_limits(wrong);
    ASSERT_FALSE(told) << wrong;
    EXPECT_EQ(told.error().code, Code::protocol);
  }
}

}  // namespace
}  // namespace epif::net
