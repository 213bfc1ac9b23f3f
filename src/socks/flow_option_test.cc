#include "socks/flow_option.h"

#include <gtest/gtest.h>

#include <numeric>

namespace epif::socks6 {
namespace {

/// The option's body by hand, as docs/socks6-options.md has it.
Bytes body(std::string_view flow, const std::vector<std::string>& labels) {
  Bytes made{1, static_cast<std::uint8_t>(flow.size()), static_cast<std::uint8_t>(labels.size()), 0};
  made.insert(made.end(), flow.begin(), flow.end());
  for (const auto& label : labels) {
    made.push_back(static_cast<std::uint8_t>(label.size()));
    made.insert(made.end(), label.begin(), label.end());
    made.insert(made.end(), 32, 0xab);
  }
  while (made.size() % 4 != 0) made.push_back(0);
  return made;
}

std::string filled(std::size_t size) { return std::string(size, 'x'); }

TEST(FlowOption, TakesEachFieldUpToItsLimitAndNotBeyond) {
  EXPECT_TRUE(decode_flow_option(body("a", {})));
  EXPECT_TRUE(decode_flow_option(body(filled(64), {filled(1), filled(64), filled(2), filled(3)})));
  EXPECT_FALSE(decode_flow_option(body("", {})));
  EXPECT_FALSE(decode_flow_option(body(filled(65), {})));
  EXPECT_FALSE(decode_flow_option(body("a", {""})));
  EXPECT_FALSE(decode_flow_option(body("a", {filled(65)})));
  EXPECT_FALSE(decode_flow_option(body("a", {"1", "2", "3", "4", "5"})));
}

TEST(FlowOption, AFlowIdHasLettersDigitsAndFourSigns) {
  std::string all(256, '\0');
  std::iota(all.begin(), all.end(), '\0');
  const std::string_view good = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";
  for (const char byte : all) EXPECT_EQ(is_flow_id(std::string(1, byte)), good.contains(byte)) << static_cast<int>(byte);
}

TEST(FlowOption, BytesThatBelongToNothingAreRefusedAndReservedOnesIgnored) {
  auto option = body("abcd", {});
  option[3] = 0xff;
  EXPECT_TRUE(decode_flow_option(option)) << "the reserved byte";
  auto padded = body("abcde", {});
  padded.back() = 0xff;
  EXPECT_TRUE(decode_flow_option(padded)) << "padding";
  option.insert(option.end(), 4, 0);
  EXPECT_FALSE(decode_flow_option(option)) << "four bytes more than padding";
  for (std::size_t length = 0; length < padded.size() - 3; ++length) {
    EXPECT_FALSE(decode_flow_option(ByteSpan(padded).first(length))) << "cut at " << length;
  }
}

}  // namespace
}  // namespace epif::socks6
