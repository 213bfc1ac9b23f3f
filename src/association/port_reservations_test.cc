#include "association/port_reservations.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace epif::association {
namespace {

Fd socket() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }
SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

TEST(PortReservations, OnlyTheOwnerClaimsAndOnlyOnce) {
  PortReservations all;
  const auto held = all.keep(socket(), at("[::]:5001"), "ann");
  EXPECT_FALSE(all.claim(at("0.0.0.0:5001"), "bob"));
  EXPECT_FALSE(all.claim(at("0.0.0.0:5002"), "ann"));
  EXPECT_FALSE(all.claim(at("10.0.0.1:5001"), "ann")) << "kept at another address";
  EXPECT_TRUE(all.claim(at("0.0.0.0:5001"), "ann"));
  EXPECT_FALSE(all.claim(at("0.0.0.0:5001"), "ann"));
}

TEST(PortReservations, AReservationEndsWithItsAssociation) {
  PortReservations all;
  {
    auto held = all.keep(socket(), at("[::]:5001"), "ann");
    auto moved = std::move(held);
    EXPECT_FALSE(held);
    EXPECT_EQ(all.size(), 1u);
  }
  EXPECT_EQ(all.size(), 0u);
  EXPECT_FALSE(all.claim(at("0.0.0.0:5001"), "ann"));
}

}  // namespace
}  // namespace epif::association
