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

TEST(MovedState, sessions_come_out_as_they_went_in_also_with_names_that_are_no_utf8) {
  MovedSessions sessions;
  for (std::uint8_t i = 0; i < 200; ++i) {
    admission::MovedSession one;
    one.id = {i, 1, 2};
    one.owner = {i % 2 == 0 ? "umc/modality" : "", std::string("ann\xff\0\"", 6), address(i % 3 == 0 ? "2001:db8::1" : "10.0.0.1")};
    one.age = std::chrono::milliseconds(86'400'000 - i);
    one.idle = std::chrono::milliseconds(i);
    if (i % 2 == 0) one.proof = {i, 0, 255};
    if (i % 5 != 0) {
      one.window.emplace(0xfffffff0 + i, i == 1 ? limits::token_window_max : i);
      for (std::uint32_t token = 0; token < 300; token += 3) static_cast<void>(one.window->spend(one.window->base() + token));
    }
    sessions.push_back(std::move(one));
  }
  MovedSessions all;
  for (auto& page : there_and_back(sessions)) std::ranges::move(page, std::back_inserter(all));
  ASSERT_EQ(all.size(), sessions.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].id, sessions[i].id);
    EXPECT_EQ(all[i].owner, sessions[i].owner);
    EXPECT_EQ(all[i].age, sessions[i].age);
    EXPECT_EQ(all[i].idle, sessions[i].idle);
    EXPECT_EQ(all[i].proof, sessions[i].proof);
    ASSERT_EQ(all[i].window.has_value(), sessions[i].window.has_value());
    if (!all[i].window) continue;
    EXPECT_EQ(all[i].window->base(), sessions[i].window->base());
    EXPECT_EQ(all[i].window->spent(), sessions[i].window->spent());
  }
  EXPECT_TRUE(print_told(MovedSessions{}).empty());
  const auto ended = there_and_back(EndedSession{{1, 2, 3}});
  EXPECT_EQ(ended.at(0).id, (admission::SessionId{1, 2, 3}));
  EXPECT_EQ(there_and_back(StateTold{}).size(), 1u);
}

TEST(MovedState, what_is_wrong_is_an_error_that_quotes_nothing) {
  const std::string id(32, 'a');
  const auto session = [&](const std::string& rest) {
    return R"({"sessions":{"open":[[")" + id + R"(","","","10.0.0.1",)" + rest + "]]}}";
  };
  ASSERT_TRUE(parse_told(session(R"(1,2,"")")));
  ASSERT_TRUE(parse_told(session(R"(1,2,"0a",7,8,"03")")));
  for (const auto& text : std::initializer_list<std::string>{
           session("1,2"), session(R"(1,-2,"")"), session(R"(1,2,"",3)"), session(R"(1,2,"",7,0,"")"), session(R"(1,2,"",7,8,"0300")"),
           session(R"(1,2,"",7,8,"0g")"), session(R"(1,2,"0",7,8,"03")"), session(R"(1,2,"",7,5000,")" + std::string(1250, '0') + "\""),
           session(R"(1,2,"",4294967296,8,"03")"), session(R"(1,2,"",7,8,"03",9)"), session(R"(1e30,2,"")"), R"({"sessions":[]})",
           R"({"sessions":{"open":[["aa","","","10.0.0.1",1,2,""]]}})",
           R"({"counts":{"of":"nothing"}})", R"({"counts":{}})", R"({"counts":{"of":"connections","sources":[["10.0.0.1",1,1]]}})",
           R"({"counts":{"of":"connections","sources":[["10.0.0",1,1,1]]}})",
           R"({"counts":{"of":"connections","sources":[["10.0.0.1",1,1,4294967296000]]}})",
           R"({"counts":{"of":"connections","sources":[["10.0.0.1",20000000,1,1]]}})", R"({"counts":{"of":"connections","routes":{}}})",
           R"({"rates":{"of":"connections"}})", R"({"rates":{"of":"connections","all":1,"sources":[["10.0.0.1",true]]}})",
           R"({"ended_session":"aa"})", R"({"ended_session":7})", R"({"state_told":true,"more":1})", R"({"flow":1})", "", "{"}) {
    const auto told = parse_told(text);
    ASSERT_FALSE(told) << text;
    EXPECT_EQ(told.error().code, Code::protocol);
    EXPECT_EQ(told.error().text().find("aaaa"), std::string::npos);
  }
  EXPECT_FALSE(is_told(R"({"flow":{}})"));
  EXPECT_FALSE(is_told(R"({"departed":3})"));
}

}  // namespace
}  // namespace epif::proxy
