#include <gtest/gtest.h>

#include "model/routing.h"

namespace epif {
namespace {

const std::chrono::sys_seconds now{std::chrono::seconds(1'700'000'000)};

Route route(std::string id, std::string_view destination, bool bind) {
  Route made;
  made.id = std::move(id);
  made.destination = *CaptureTarget::parse(destination);
  made.sources = {*Cidr::parse("10.1.0.0/24")};
  made.bind = bind;
  return made;
}

Asker from(std::string_view address) { return {"", *IpAddress::parse(address), {}}; }

std::string found(const Routing& routing, const Asker& asker, const std::optional<Destination>& expected) {
  const auto made = routing.find_bind(asker, expected, now);
  return made ? (*made)->id : std::string(epif::name(made.error().code));
}

TEST(RoutingOfBind, IsGrantedOnlyByARouteThatSaysSo) {
  const auto routing = Routing::of({"", 0, {route("connect", "10.2.0.10:21", false), route("bind", "10.2.0.11:21", true)}, {}});
  EXPECT_EQ(found(*routing, from("10.1.0.1"), *Destination::parse("10.2.0.10:21")), "no_route");
  EXPECT_EQ(found(*routing, from("10.1.0.1"), *Destination::parse("10.2.0.11:21")), "bind");
  EXPECT_EQ(found(*routing, from("10.1.0.1"), *Destination::parse("10.2.0.11:0")), "bind") << "port 0 is any";
  EXPECT_EQ(found(*routing, from("10.1.0.1"), *Destination::parse("10.2.0.11:22")), "no_route");
  EXPECT_EQ(found(*routing, from("10.9.0.1"), *Destination::parse("10.2.0.11:21")), "no_route") << "somebody else";
  EXPECT_EQ(found(*routing, from("10.1.0.1"), std::nullopt), "bind") << "the route's destination bounds who may connect";
}

TEST(RoutingOfBind, ARouteWithoutItDoesNotHideOneThatGrantsIt) {
  const auto routing = Routing::of({"", 0, {route("connect", "10.2.0.10", false), route("bind", "10.2.0.10", true)}, {}});
  EXPECT_EQ(found(*routing, from("10.1.0.1"), *Destination::parse("10.2.0.10:21")), "bind");
}

TEST(RoutingOfBind, NeedsTheCertificateAndObeysExpiryBlockAndFlowId) {
  auto by_peer = route("peer", "10.2.0.10", true);
  by_peer.sources.clear();
  by_peer.peers = {"umc/modality"};
  auto past = route("past", "10.2.0.11", true);
  past.expires = now;
  auto blocked = route("blocked", "10.2.0.12", true);
  blocked.blocked = "consent revoked";
  const auto routing = Routing::of({"", 0, {by_peer, past, blocked}, {}});
  EXPECT_EQ(found(*routing, {"umc/modality", {}, {}}, *Destination::parse("10.2.0.10:1")), "peer");
  EXPECT_EQ(found(*routing, {"umc/other", {}, {}}, *Destination::parse("10.2.0.10:1")), "no_route");
  EXPECT_EQ(found(*routing, {"umc/modality", {}, "past"}, *Destination::parse("10.2.0.10:1")), "no_route");
  EXPECT_EQ(found(*routing, from("10.1.0.1"), *Destination::parse("10.2.0.11:1")), "expired");
  EXPECT_EQ(found(*routing, from("10.1.0.1"), *Destination::parse("10.2.0.12:1")), "denied");
}

}  // namespace
}  // namespace epif
