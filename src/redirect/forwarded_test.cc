#include "redirect/forwarded.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "redirect/stats.h"

namespace epif::redirect {
namespace {

using testing::HasSubstr;

TEST(Forwarded, ASourceGetsAQuarterOfAllAndHalfOfThatForHandshakesUnlessFlagsSayOtherwise) {
  const auto given = Forwarded({}, 480, 1).state().most;
  EXPECT_EQ(given.per_source, 120u);
  EXPECT_EQ(given.handshakes_per_source, 60u);
  EXPECT_EQ(given.per_second_per_source, limits::connections_per_second_per_source);
  const auto wished = Forwarded({7, 5, 3}, 480, 1).state().most;
  EXPECT_EQ(wished.per_source, 7u);
  EXPECT_EQ(wished.handshakes_per_source, 5u);
  EXPECT_EQ(wished.per_second_per_source, 3u);
  EXPECT_EQ(Forwarded({}, 2, 1).state().most.per_source, 1u) << "never none";
  EXPECT_EQ(Forwarded({}, 480, 1).state().most_questions, limits::dns_queries / 4);
  EXPECT_EQ(Forwarded({}, 480, 8).state().most_questions, limits::dns_queries * 2) << "each thread has its own places";
  EXPECT_EQ(Forwarded::part_of(32), 24u) << "of a thread with 32";
  EXPECT_EQ(Forwarded::part_of(1), 1u);
}

TEST(Forwarded, SourcesCountEachForItselfAndMetricsTellThem) {
  Forwarded forwarded({2, 2, 0}, 100, 1);
  const auto one = *IpAddress::parse("10.7.0.5");
  std::vector<net::Limiter::Place> held;
  for (int i = 0; i < 2; ++i) held.push_back(*forwarded.connections.enter(one));
  EXPECT_EQ(forwarded.connections.enter(one).error().code, Code::limit);
  EXPECT_TRUE(forwarded.connections.enter(*IpAddress::parse("10.7.0.6")));
  Stats stats;
  stats.forwarded = forwarded.state();
  const auto text = metrics_text(stats);
  EXPECT_THAT(text, HasSubstr("epif_redirect_limit{limit=\"connections_per_source\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("epif_redirect_forwarded_active{what=\"connections\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("epif_redirect_shed_total{limit=\"connections_per_source\"} 1\n"));
}

TEST(Forwarded, ManySourcesTogetherLeaveAQuarterToTheNodesOwnPrograms) {
  Forwarded forwarded({0, 40, 0}, 40, 1);
  std::vector<net::Limiter::Place> held;
  for (const auto* source : {"10.7.0.5", "10.7.0.6", "10.7.0.7"}) {
    for (int i = 0; i < 10; ++i) held.push_back(*forwarded.connections.enter(*IpAddress::parse(source)));
  }
  EXPECT_EQ(forwarded.connections.enter(*IpAddress::parse("10.7.0.8")).error().code, Code::limit);
  Stats stats;
  stats.forwarded = forwarded.state();
  const auto text = metrics_text(stats);
  EXPECT_THAT(text, HasSubstr("epif_redirect_limit{limit=\"forwarded_connections\"} 30\n"));
  EXPECT_THAT(text, HasSubstr("epif_redirect_shed_total{limit=\"forwarded_connections\"} 1\n"));
  stats.shed_forwarded = 4;
  EXPECT_THAT(metrics_text(stats), HasSubstr("epif_redirect_shed_total{limit=\"forwarded_connections\"} 5\n")) << "with those of the threads";
  held.pop_back();
  EXPECT_TRUE(forwarded.connections.enter(*IpAddress::parse("10.7.0.8"))) << "a place that came back";
}

}  // namespace
}  // namespace epif::redirect
