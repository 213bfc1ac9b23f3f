#include "redirect/stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(Stats, JsonQuotesWhatComesFromOutside) {
  Stats stats;
  stats.refusals.push_back({{}, *SocketAddress::parse("10.1.0.1:5"), *SocketAddress::parse("10.2.0.1:80"),
                            Error{Code::denied, "say \"no\"\n"}});
  EXPECT_THAT(flows_json(stats), HasSubstr(R"("reason":"denied","message":"say \"no\"\u000a")"));
}

}  // namespace
}  // namespace epif::redirect
