#include "redirect/stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>

namespace epif::redirect {
namespace {

using testing::HasSubstr;

TEST(Stats, AddUpOverThreadsByReason) {
  Stats one;
  one.connections = 2;
  one.refused[Code::no_route] = 1;
  Stats two;
  two.connections = 3;
  two.refused[Code::no_route] = 2;
  one.add(two);
  const auto text = metrics_text(one);
  EXPECT_THAT(text, HasSubstr("epif_redirect_connections_total 5\n"));
  EXPECT_THAT(text, HasSubstr("epif_redirect_refused_total{reason=\"no_route\"} 3\n"));
}

TEST(Stats, NoSeriesIsThereTwiceAndLimitsAreAmongThem) {
  Stats stats;
  stats.most = 9000;
  stats.forwarded.emplace();
  std::istringstream lines(metrics_text(stats));
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    EXPECT_TRUE(seen.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
  EXPECT_TRUE(seen.contains("epif_redirect_limit{limit=\"connections\"}"));
  EXPECT_TRUE(seen.contains("epif_redirect_fixed_limit{limit=\"dns_queries\"}"));
}

TEST(Stats, JsonQuotesWhatComesFromOutside) {
  Stats stats;
  stats.refusals.push_back({{}, *SocketAddress::parse("10.1.0.1:5"), *SocketAddress::parse("10.2.0.1:80"),
                            Error{Code::denied, "say \"no\"\n"}});
  EXPECT_THAT(flows_json(stats), HasSubstr(R"("reason":"denied","message":"say \"no\"\u000a")"));
}

}  // namespace
}  // namespace epif::redirect
