#include "proxy/moved_state.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace epif::proxy {
namespace {

template <class One>
std::vector<One> there_and_back(const One& one) {
  std::vector<One> made;
  for (const auto& text : print_told(one)) {
    EXPECT_TRUE(is_told(text));
    EXPECT_LE(text.size(), limits::handover_message_max_bytes);
    auto told = parse_told(text);
    EXPECT_TRUE(told) << told.error().text();
    if (told) made.push_back(std::get<One>(std::move(*told)));
  }
  return made;
}

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }

TEST(MovedState, counts_and_rates_come_out_as_they_went_in_in_as_many_messages_as_they_need) {
  MovedCounts counts{Counted::associations, {}};
  MovedRates rates{Counted::next_associations, {.all = 1234.5, .sources = {}}};
  for (std::uint8_t i = 0; i < 250; ++i) {
    for (std::uint8_t j = 0; j < 40; ++j) {
      const auto source = address(fmt::format(fmt::runtime(j == 0 ? "2001:db8:0:{}::{}" : "10.0.{}.{}"), i, j));
      counts.held.sources[source] = {i, j, 1'000'000U * j};
      rates.rates.sources[source] = i / 3.0;
    }
    counts.held.routes["a \"route\" " + std::to_string(i)] = i;
  }
  const auto pages = there_and_back(counts);
  EXPECT_GT(pages.size(), 3u);
  net::Limiter::Held all;
  for (const auto& page : pages) {
    EXPECT_EQ(page.of, Counted::associations);
    all.sources.insert(page.held.sources.begin(), page.held.sources.end());
    all.routes.insert(page.held.routes.begin(), page.held.routes.end());
  }
  EXPECT_EQ(all, counts.held);
  std::map<IpAddress, double> left;
  for (const auto& page : there_and_back(rates)) {
    EXPECT_EQ(page.of, Counted::next_associations);
    EXPECT_EQ(page.rates.all, 1234.5);
    left.insert(page.rates.sources.begin(), page.rates.sources.end());
  }
  EXPECT_EQ(left, rates.rates.sources);
  EXPECT_EQ(there_and_back(MovedCounts{}).size(), 1u) << "nothing is told, too";
}

TEST(MovedState, what_is_wrong_is_an_error) {
  for (const auto& text : std::initializer_list<std::string>{
           R"({"counts":{"of":"nothing"}})", R"({"counts":{}})", R"({"counts":{"of":"connections","sources":[["10.0.0.1",1,1]]}})",
           R"({"counts":{"of":"connections","sources":[["10.0.0",1,1,1]]}})",
           R"({"counts":{"of":"connections","sources":[["10.0.0.1",1,1,4294967296000]]}})",
           R"({"counts":{"of":"connections","sources":[["10.0.0.1",20000000,1,1]]}})", R"({"counts":{"of":"connections","routes":{}}})",
           R"({"rates":{"of":"connections"}})", R"({"rates":{"of":"connections","all":1,"sources":[["10.0.0.1",true]]}})",
           R"({"state_told":true,"more":1})", R"({"flow":1})", "", "{"}) {
    const auto told = parse_told(text);
    ASSERT_FALSE(told) << text;
    EXPECT_EQ(told.error().code, Code::protocol);
  }
  EXPECT_FALSE(is_told(R"({"flow":{}})"));
  EXPECT_FALSE(is_told(R"({"departed":3})"));
}

TEST(MovedState, changes_name_what_is_new_what_is_other_and_what_is_no_more) {
  const net::Limiter::Held before{.sources = {{address("10.0.0.1"), {1, 0, 0}}, {address("10.0.0.2"), {2, 0, 0}}}, .routes = {{"a", 1}}};
  const net::Limiter::Held now{.sources = {{address("10.0.0.2"), {2, 1, 0}}, {address("10.0.0.3"), {3, 0, 0}}}, .routes = {}};
  const auto told = changes(before, now);
  EXPECT_EQ(told.sources, (std::map<IpAddress, net::Limiter::Load>{
                              {address("10.0.0.1"), {}}, {address("10.0.0.2"), {2, 1, 0}}, {address("10.0.0.3"), {3, 0, 0}}}));
  EXPECT_EQ(told.routes, (std::map<std::string, std::uint32_t>{{"a", 0}}));
  EXPECT_TRUE(changes(now, now).sources.empty());
}

}  // namespace
}  // namespace epif::proxy
