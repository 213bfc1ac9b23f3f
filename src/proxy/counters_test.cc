#include "proxy/counters.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace epif::proxy
