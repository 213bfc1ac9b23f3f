#include "mqtt.h"

#include <gtest/gtest.h>

namespace epif::bench::mqtt {
namespace {

TEST(Mqtt, a_connection_is_asked_for_as_the_standard_writes_it) {
  EXPECT_EQ(to_hex(connect("ab")),
            "100e00044d515454040200000002"
            "6162");
  EXPECT_EQ(to_hex(subscribe("b/#")),
            "82080001"
            "0003622f23"
            "00");
}

TEST(Mqtt, a_publish_is_read_back_whole_wherever_it_is_split) {
  const Bytes payload(200, 7);  // the length needs two bytes
  Bytes stream;
  publish(stream, "b/1", 258, payload);
  const std::size_t whole = stream.size();
  publish(stream, "b/1", 259, payload);
  for (std::size_t size = 0; size < whole; ++size) {
    const auto part = next(ByteSpan(stream).first(size));
    ASSERT_TRUE(part) << size;
    EXPECT_FALSE(*part) << size;
  }
  const auto first = next(stream);
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->length, whole);
  EXPECT_EQ(Bytes((*first)->body.begin(), (*first)->body.end()), payload);
}

TEST(Mqtt, a_refusal_and_an_unknown_packet_are_errors) {
  EXPECT_EQ(next(from_hex("20020005")).error().code, Code::refused);
  EXPECT_EQ(next(from_hex("9003000180")).error().code, Code::refused);
  EXPECT_EQ(next(from_hex("f000")).error().code, Code::protocol);
  EXPECT_EQ(next(from_hex("30ffffffffff")).error().code, Code::protocol);
  EXPECT_EQ(next(from_hex("3202ffff")).error().code, Code::protocol);
  EXPECT_TRUE(next(from_hex("20020000"))->has_value());
}

}  // namespace
}  // namespace epif::bench::mqtt
