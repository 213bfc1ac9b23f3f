#include "proxy/counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/limits.h"

namespace epif::proxy {
namespace {

TEST(counters, withdrawn_routes_do_not_pile_up_and_sums_stay) {
  Counters counters;
  for (int i = 0; i < 1'000; ++i) counters.routes["route-" + std::to_string(i)] = {1, 10, 100};
  const auto in_table = [](const std::string& id) { return id == "route-7"; };
  counters.fold_withdrawn(in_table, 999);
  EXPECT_EQ(counters.routes.size(), 1'000u) << "a route that has just gone can still be read one by one";
  counters.fold_withdrawn(in_table, 998);
  ASSERT_EQ(counters.routes.size(), 1u);
  EXPECT_EQ(counters.routes.begin()->first, "route-7");
  const auto text = print_metrics({counters, {}}, {}, 0);
  EXPECT_NE(text.find("epif_proxy_bytes_total{direction=\"to_server\"} 10000\n"), std::string::npos) << text;
  EXPECT_NE(text.find("epif_proxy_bytes_total{direction=\"to_client\"} 100000\n"), std::string::npos) << text;
}

TEST(counters, the_latest_refusals_are_kept_in_order_and_no_more_than_the_limit) {
  Counters first;
  Counters second;
  for (std::size_t i = 0; i < limits::recent_refusals + 10; ++i) {
    auto& counters = i % 2 == 0 ? first : second;
    counters.note({{}, "umc/modality", "10.2.0.10:" + std::to_string(i), Code::denied, "consent is missing", "imaging/send", "care"});
  }
  for (std::size_t i = 0; i < 1'000; ++i) second.note({{}, "10.9.0.9:1", {}, Code::unauthenticated, "a foreign certificate"});
  EXPECT_EQ(second.recent.size(), limits::recent_refusals);
  EXPECT_EQ(first.recent.size(), limits::recent_refusals / 2 + 5);
  first += second;
  EXPECT_TRUE(std::ranges::is_sorted(first.recent, {}, &Refused::at));
  const auto text = print_flows({first, {}});
  EXPECT_NE(text.find(R"("source":"umc/modality","destination":"10.2.0.10:0","reason":"denied","message":"consent is missing","flow":"imaging/send","policy":"care")"),
            std::string::npos)
      << text.substr(0, 600);
}

TEST(counters, a_name_that_is_no_text_leaves_the_list_of_refusals_readable) {
  Counters counters;
  counters.note({{}, "10.1.0.9", std::string("\xff\xfe\x01\"\n") + "x:80", Code::no_route, "no route to \xc3("});
  counters.note({{}, "10.1.0.9", "b\xc3\xbc.example:80", Code::no_route, "no route"});
  boost::system::error_code failure;
  const auto read = boost::json::parse(print_flows({counters, {}}), failure);
  ASSERT_FALSE(failure) << failure.message();
  EXPECT_EQ(read.at("refusals").at(0).at("destination").as_string(), "\\xff\\xfe\x01\"\nx:80");
}

}  // namespace
}  // namespace epif::proxy
