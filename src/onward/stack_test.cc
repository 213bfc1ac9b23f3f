#include "onward/stack.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace epif::onward {
namespace {

using socks6::Leg;

TEST(Stack, EveryWishAboutTheClientsLegIsAnsweredByWhatIsInForceInBothFamilies) {
  socks6::StackOptions wishes;
  wishes.add(socks6::Tos{Leg::both, 0x28});
  wishes.add(socks6::Ttl{Leg::client_proxy, 33});
  wishes.add(socks6::NoFragmentation{Leg::client_proxy, true});
  for (const int family : {AF_INET, AF_INET6}) {
    const Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto facts = client_leg_facts(wishes, fd.get());
    EXPECT_EQ(facts.size(), 3u);
    EXPECT_EQ(*facts.find<socks6::Tos>(Leg::client_proxy), (socks6::Tos{Leg::client_proxy, 0x28}));
    EXPECT_EQ(facts.find<socks6::Ttl>(Leg::client_proxy)->value, 33);
    EXPECT_TRUE(facts.find<socks6::NoFragmentation>(Leg::client_proxy)->wanted);
    EXPECT_TRUE(net::never_fragments(fd.get()));
  }
}

TEST(Stack, WhatTheKernelMasksIsToldAsItIs) {
  socks6::StackOptions wishes;
  wishes.add(socks6::Tos{Leg::client_proxy, 0xff});
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto facts = client_leg_facts(wishes, fd.get());
  int in_force = 0;
  socklen_t size = sizeof in_force;
  ::getsockopt(fd.get(), IPPROTO_IP, IP_TOS, &in_force, &size);
  EXPECT_EQ(facts.find<socks6::Tos>(Leg::client_proxy)->value, in_force) << "ECN bits are the kernel's own";
}

TEST(Stack, FastOpenNeedsAWishAndAReplayThatDoesNoHarm) {
  socks6::StackOptions wishes;
  EXPECT_FALSE(remote_options(wishes, true).fast_open);
  wishes.add(socks6::FastOpen{0});
  EXPECT_FALSE(remote_options(wishes, false).fast_open);
  EXPECT_TRUE(remote_options(wishes, true).fast_open);
}

TEST(Stack, AConnectionThatStandsServesFastOpenAndTheClientsLegAndNothingElse) {
  socks6::StackOptions wishes;
  EXPECT_TRUE(served_by_any_connection(wishes));
  wishes.add(socks6::FastOpen{0});
  wishes.add(socks6::Tos{Leg::client_proxy, 0x28});
  EXPECT_TRUE(served_by_any_connection(wishes));
  const std::vector<socks6::StackOption> others{socks6::Tos{Leg::proxy_remote, 0x28},  socks6::Tos{Leg::both, 0x28},
                                                socks6::Ttl{Leg::proxy_remote, 9},     socks6::NoFragmentation{Leg::both, true},
                                                socks6::Multipath{true},               socks6::HappyEyeballs{true}};
  for (const auto& other : others) {
    socks6::StackOptions all;
    all.add(socks6::FastOpen{0});
    all.add(other);
    EXPECT_FALSE(served_by_any_connection(all)) << "option " << other.index();
  }
}

TEST(Stack, MultipathGivesWayToWhatItCannotHave) {
  socks6::StackOptions wishes;
  wishes.add(socks6::Multipath{true});
  EXPECT_TRUE(remote_options(wishes, true).multipath);
  wishes.add(socks6::Ttl{Leg::proxy_remote, 9});
  EXPECT_FALSE(remote_options(wishes, true).multipath);
  EXPECT_FALSE(listener_options(wishes).multipath);
}

TEST(Stack, AListenerTellsItsBacklogAlsoWhenThereIsNone) {
  socks6::StackOptions wishes;
  wishes.add(socks6::ListenBacklog{9});
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(listener_facts(wishes, fd.get(), 4).find<socks6::ListenBacklog>()->connections, 4);
  EXPECT_EQ(listener_facts(wishes, fd.get(), 0).find<socks6::ListenBacklog>()->connections, 0);
}

TEST(Stack, AProbeTellsWhatAConnectionWouldHaveAndNoForOtherCommands) {
  socks6::StackOptions wishes;
  wishes.add(socks6::Tos{Leg::both, 0x28});
  wishes.add(socks6::Ttl{Leg::proxy_remote, 33});
  wishes.add(socks6::NoFragmentation{Leg::proxy_remote, true});
  wishes.add(socks6::Multipath{true});
  wishes.add(socks6::HappyEyeballs{true});
  wishes.add(socks6::FastOpen{0});
  wishes.add(socks6::ListenBacklog{9});
  wishes.add(socks6::UdpError{true});
  wishes.add(socks6::PortParity{2, true});
  socks6::StackOptions expected;
  expected.add(socks6::Tos{Leg::proxy_remote, 0x28});
  expected.add(socks6::Ttl{Leg::proxy_remote, 33});
  expected.add(socks6::NoFragmentation{Leg::proxy_remote, true});
  expected.add(socks6::Multipath{false});  // gives way to the TTL
  auto of_a_name = expected;
  of_a_name.add(socks6::HappyEyeballs{true});
  for (auto* facts : {&expected, &of_a_name}) {
    facts->add(socks6::ListenBacklog{0});
    facts->add(socks6::UdpError{false});
    facts->add(socks6::PortParity{0, false});
  }
  EXPECT_EQ(probed_facts(wishes, false), expected);
  EXPECT_EQ(probed_facts(wishes, true), of_a_name);
  EXPECT_TRUE(probed_facts({}, true).empty());
}

TEST(Stack, AFailureTellsThatNothingIsInForceAndOfTosAndTtlWhatAConnectionWouldHave) {
  socks6::StackOptions wishes;
  wishes.add(socks6::Tos{Leg::both, 0x28});
  wishes.add(socks6::Ttl{Leg::proxy_remote, 33});
  wishes.add(socks6::NoFragmentation{Leg::both, true});
  wishes.add(socks6::HappyEyeballs{true});
  wishes.add(socks6::FastOpen{0});
  wishes.add(socks6::Multipath{true});
  wishes.add(socks6::ListenBacklog{9});
  wishes.add(socks6::UdpError{true});
  wishes.add(socks6::PortParity{1, true});
  const auto told = failure_facts(wishes, true, true);
  EXPECT_EQ(told.size(), wishes.size() - 1) << "Fast Open's answer has no way to say no";
  EXPECT_EQ(*told.find<socks6::Tos>(), (socks6::Tos{Leg::proxy_remote, 0x28}));
  EXPECT_EQ(*told.find<socks6::Ttl>(), (socks6::Ttl{Leg::proxy_remote, 33}));
  EXPECT_EQ(*told.find<socks6::NoFragmentation>(), (socks6::NoFragmentation{Leg::proxy_remote, false}));
  EXPECT_TRUE(told.find<socks6::HappyEyeballs>()->wanted);
  EXPECT_FALSE(told.find<socks6::Multipath>()->wanted);
  EXPECT_EQ(told.find<socks6::ListenBacklog>()->connections, 0);
  EXPECT_FALSE(told.find<socks6::UdpError>()->wanted);
  EXPECT_EQ(*told.find<socks6::PortParity>(), socks6::PortParity{});
  EXPECT_FALSE(failure_facts(wishes, true, false).find<socks6::HappyEyeballs>()->wanted);
  EXPECT_EQ(failure_facts(wishes, false, false).find<socks6::HappyEyeballs>(), nullptr) << "ignored without a name";
  EXPECT_TRUE(failure_facts({}, true, true).empty());
}

TEST(Stack, WhatIsAnsweredIsNotDenied) {
  socks6::StackOptions wishes, facts;
  for (auto* of : {&wishes, &facts}) {
    of->add(socks6::Multipath{true});
    of->add(socks6::UdpError{true});
    of->add(socks6::PortParity{2, true});
    of->add(socks6::ListenBacklog{4});
  }
  EXPECT_EQ(with_denials(facts, wishes), facts);
  EXPECT_TRUE(with_denials({}, {}).empty());
}

}  // namespace
}  // namespace epif::onward
