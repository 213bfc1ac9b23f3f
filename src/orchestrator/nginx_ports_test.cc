#include "orchestrator/nginx_ports.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace epif::orchestrator {
namespace {

TEST(NginxPorts, a_flow_keeps_its_port_whatever_comes_and_goes) {
  const auto first = PortBook({}).take("umc/proxy", "b");
  ASSERT_TRUE(first);
  const NginxPorts known{{"umc/proxy", {{"b", *first}}}};
  PortBook later(known);
  EXPECT_NE(later.take("umc/proxy", "a"), first);
  EXPECT_EQ(later.take("umc/proxy", "b"), first);
}

TEST(NginxPorts, a_port_of_an_earlier_flow_does_not_go_to_the_next_one) {
  PortBook book({});
  EXPECT_NE(book.take("p", "imaging/send"), PortBook({}).take("p", "study/send"));
}

TEST(NginxPorts, no_two_flows_share_a_port_and_a_full_range_is_an_answer) {
  constexpr std::size_t count = limits::nginx_port_last - limits::nginx_port_first + 1u;
  PortBook book({});
  std::set<std::uint16_t> seen;
  for (std::size_t i = 0; i < count; ++i) {
    const auto port = book.take("p", fmt::format("flow-{}", i));
    ASSERT_TRUE(port);
    EXPECT_GE(*port, limits::nginx_port_first);
    EXPECT_LE(*port, limits::nginx_port_last);
    EXPECT_TRUE(seen.insert(*port).second) << *port;
  }
  EXPECT_FALSE(book.take("p", "one-more"));
  EXPECT_TRUE(book.take("p", "flow-7"));
  EXPECT_TRUE(book.take("another-proxy", "one-more"));
}

}  // namespace
}  // namespace epif::orchestrator
