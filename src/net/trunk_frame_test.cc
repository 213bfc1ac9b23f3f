#include "net/trunk_frame.h"

#include <gtest/gtest.h>

namespace epif::net {
namespace {

using Kind = TrunkFrame::Kind;

TEST(TrunkFrame, every_possible_frame_reads_back_as_it_was_written) {
  for (const auto& frame : {TrunkFrame{Kind::data, true, false, 1, 1}, TrunkFrame{Kind::data, false, true, 0, 7},
                            TrunkFrame{Kind::data, true, true, 65535, 0xffffffff}, TrunkFrame{Kind::reset, false, false, 0, 3},
                            TrunkFrame{Kind::credit, false, false, 4, 3}, TrunkFrame{Kind::drain, false, false, 0, 0},
                            TrunkFrame{Kind::moved, false, false, 0, 9}}) {
    const auto bytes = encode_trunk_frame(frame);
    const auto read = decode_trunk_frame(bytes);
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, frame);
  }
}

TEST(TrunkFrame, whatever_is_accepted_is_written_the_same_again) {
  // All kinds, flags and small lengths and streams: each is either refused or unambiguous.
  int accepted = 0;
  for (unsigned kind = 0; kind < 256; ++kind) {
    for (unsigned flags = 0; flags < 256; ++flags) {
      for (unsigned length : {0u, 1u, 4u, 65535u}) {
        for (unsigned stream : {0u, 1u}) {
          const std::array<std::uint8_t, 8> bytes{static_cast<std::uint8_t>(kind), static_cast<std::uint8_t>(flags),
                                                  static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length),
                                                  0, 0, 0, static_cast<std::uint8_t>(stream)};
          const auto frame = decode_trunk_frame(bytes);
          if (!frame) continue;
          ++accepted;
          EXPECT_EQ(encode_trunk_frame(*frame), bytes);
        }
      }
    }
  }
  EXPECT_EQ(accepted, 15 + 1 + 1 + 1 + 1);  // data: 4 lengths, 4 flags, but not nothing at all
}

}  // namespace
}  // namespace epif::net
