#include "proxy/moved_flow.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

namespace epif::proxy {
namespace {

Fd some_descriptor() { return Fd(::eventfd(0, EFD_CLOEXEC)); }

MovedFlow flow_of(std::size_t functions) {
  MovedFlow made;
  made.route.id = "r";
  made.route.sources = {Cidr::parse("127.0.0.0/8").value()};
  made.route.destination = CaptureTarget::parse("10.2.0.10:80").value();
  made.peer = SocketAddress::parse("127.0.0.1:40000").value();
  made.identity = "umc/modality";
  made.target = Destination::parse("pacs.research:80").value();
  made.wish = Wish{false, made.target};
  made.age_ms = 1234;
  made.chain.early = {1, 2};
  made.chain.read = {3, 4};
  made.chain.written = {5, 0xffffffffffffffff};
  made.chain.passed = {true, false};
  made.chain.limits = {{}, 77, 8, 9};
  made.chain.peers = {some_descriptor(), some_descriptor()};
  for (std::size_t i = 0; i < functions; ++i) {
    ChainLink link{};
    link.function = "audit";
    link.instance = "audit-" + std::to_string(i);
    link.socket = "/run/x";
    made.route.chain.push_back(link);
    auto& moved = made.chain.links.emplace_back();
    moved.control = i;
    moved.conn = 10 + i;
    moved.may_release = i % 2 == 1;
    moved.ended = {42, {}};
    if (moved.may_release) moved.kept = {some_descriptor(), some_descriptor()};
    if (i > 0) made.chain.joints.push_back(some_descriptor()), made.chain.joints.push_back(some_descriptor());
  }
  return made;
}

TEST(MovedFlow, everything_comes_out_as_it_went_in) {
  for (const std::size_t functions : {1U, 2U, 16U}) {
    MovedFlows moved;
    moved.thread = 3;
    moved.controls.push_back({"audit-0", 12, 34, some_descriptor()});
    moved.flows.push_back(flow_of(functions));
    moved.flows.push_back(flow_of(1));
    moved.flows.back().wish.reset();
    const auto route = moved.flows.front().route;
    const int first_joint = functions > 1 ? moved.flows.front().chain.joints.front().get() : -1;
    Unpacking unpacking;
    std::optional<MovedFlows> out;
    auto parcels = pack(std::move(moved));
    for (auto& parcel : parcels) {
      ASSERT_FALSE(out);
      EXPECT_LE(parcel.descriptors.size(), 8U);
      auto taken = unpacking.take(parcel.text, std::move(parcel.descriptors));
      ASSERT_TRUE(taken) << taken.error().text();
      out = std::move(*taken);
    }
    ASSERT_TRUE(out);
    EXPECT_EQ(out->thread, 3);
    ASSERT_EQ(out->controls.size(), 1U);
    EXPECT_EQ(out->controls[0].next_conn, 12U);
    EXPECT_EQ(out->controls[0].received, 34U);
    ASSERT_EQ(out->flows.size(), 2U);
    const auto& flow = out->flows[0];
    EXPECT_EQ(flow.route, route);
    EXPECT_EQ(flow.peer.text(), "127.0.0.1:40000");
    EXPECT_EQ(flow.identity, "umc/modality");
    EXPECT_EQ(flow.target.text(), "pacs.research:80");
    ASSERT_TRUE(flow.wish && flow.wish->host);
    EXPECT_FALSE(out->flows[1].wish);
    EXPECT_EQ(flow.age_ms, 1234U);
    EXPECT_EQ(flow.chain.written[1], 0xffffffffffffffffU);
    EXPECT_TRUE(flow.chain.passed[0] && !flow.chain.passed[1]);
    EXPECT_FALSE(flow.chain.limits.from_client_bytes);
    EXPECT_EQ(flow.chain.limits.from_server_bytes, 77U);
    EXPECT_EQ(flow.chain.limits.half_closed_s, 9U);
    ASSERT_EQ(flow.chain.links.size(), functions);
    EXPECT_EQ(flow.chain.links.back().conn, 9 + functions);
    EXPECT_EQ(flow.chain.links.back().ended[0], 42U);
    EXPECT_FALSE(flow.chain.links.back().ended[1]);
    ASSERT_EQ(flow.chain.joints.size(), 2 * (functions - 1));
    EXPECT_EQ(functions > 1 ? flow.chain.joints.front().get() : -1, first_joint);
    EXPECT_EQ(static_cast<bool>(flow.chain.links.back().kept[1]), functions % 2 == 0);
  }
}

TEST(MovedFlow, what_is_not_whole_is_refused_and_forgotten) {
  const auto refuses = [](std::string_view text) {
    Unpacking unpacking;
    const auto taken = unpacking.take(text, {});
    return !taken && taken.error().code == Code::protocol;
  };
  for (const auto* text : {"", "{}", "[]", "{\"control\":1}", "{\"flow\":{}}", "{\"descriptors\":true}", "{\"departed\":-1}", "{\"departed\":70000}",
                           "{\"departed\":0,\"flow\":1}", "{\"other\":0}"}) {
    EXPECT_TRUE(refuses(text)) << text;
  }
  MovedFlows moved;
  moved.flows.push_back(flow_of(16));
  auto parcels = pack(std::move(moved));
  Unpacking unpacking;
  ASSERT_TRUE(unpacking.take(parcels[0].text, std::move(parcels[0].descriptors)));
  EXPECT_FALSE(unpacking.take("{\"departed\":0}", {}));  // the flow is not whole
  // What still comes of the same flows is dropped, up to their last message.
  Unpacking torn;
  torn.spoil();
  const auto swallowed = torn.take("{\"control\":1}", {});
  EXPECT_TRUE(swallowed && !*swallowed);
  const auto end = torn.take("{\"departed\":0}", {});
  EXPECT_TRUE(end && !*end);
  EXPECT_FALSE(torn.take("{\"control\":1}", {}));
  const auto after = unpacking.take("{\"departed\":0}", {});
  ASSERT_TRUE(after && *after);
  EXPECT_TRUE((*after)->flows.empty());
}

}  // namespace
}  // namespace epif::proxy
