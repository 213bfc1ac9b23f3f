#include "bridge/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace epif::bridge {
namespace {

Bytes packet(std::string_view text) { return Bytes(text.begin(), text.end()); }

TEST(Message, open_keeps_every_field) {
  Open open;
  open.conn = 7;
  open.flow = "stroke/send";
  open.position = 1;
  open.length = 3;
  open.source = "umc/modality";
  open.destination = "10.2.0.10:4242";
  open.data = "push";
  open.purpose = "research";
  open.parameters = {{"protocol", "dicom"}};
  open.key = Bytes(32, 0xA5);
  open.metadata = {{"patient \"x\"\n", "\xC3\xA9"}};
  const auto read = decode_to_function(encode(ToFunction{open}));
  ASSERT_TRUE(read) << read.error().text();
  const auto& back = std::get<Open>(*read);
  EXPECT_EQ(back.conn, 7u);
  EXPECT_EQ(back.flow, open.flow);
  EXPECT_EQ(back.position, 1u);
  EXPECT_EQ(back.length, 3u);
  EXPECT_EQ(back.source, open.source);
  EXPECT_EQ(back.destination, open.destination);
  EXPECT_EQ(back.data, "push");
  EXPECT_EQ(back.purpose, "research");
  EXPECT_EQ(back.parameters, open.parameters);
  EXPECT_EQ(back.key, open.key);
  EXPECT_EQ(back.metadata, open.metadata);
}

TEST(Message, start_carries_early_bytes_of_both_sides) {
  const auto read = decode_to_function(encode(ToFunction{Start{9, true, false, {'{', '\n', 0}, {1, 2}}}));
  ASSERT_TRUE(read);
  const auto& start = std::get<Start>(*read);
  EXPECT_TRUE(start.direct_client);
  EXPECT_FALSE(start.direct_server);
  EXPECT_EQ(start.early_client, (Bytes{'{', '\n', 0}));
  EXPECT_EQ(start.early_server, (Bytes{1, 2}));
}

TEST(Message, what_a_function_says_survives_the_wire) {
  const auto end = decode_from_function(encode(FromFunction{End{3, Direction::to_client, 1ull << 40}}));
  ASSERT_TRUE(end);
  EXPECT_EQ(std::get<End>(*end).bytes, 1ull << 40);
  EXPECT_EQ(std::get<End>(*end).direction, Direction::to_client);
  const auto report = decode_from_function(encode(FromFunction{Report{4, 1, 2, "passed", "n", {{"a", "b"}}}}));
  ASSERT_TRUE(report);
  EXPECT_EQ(std::get<Report>(*report).detail.at("a"), "b");
  EXPECT_EQ(connection_of(*report), 4u);
  const auto accept = decode_from_function(encode(FromFunction{Accept{5, {}, true}}));
  ASSERT_TRUE(accept);
  EXPECT_TRUE(std::get<Accept>(*accept).may_release);
}

TEST(Message, unknown_fields_are_ignored) {
  EXPECT_TRUE(decode_from_function(packet("{\"type\":\"deny\",\"conn\":1,\"reason\":\"no\",\"later\":[1]}\n")));
}

TEST(Message, garbage_is_a_protocol_error) {
  for (const auto* text : {"", "\n", "{}", "{}\n", "[]\n", "{\"type\":7}\n", "{\"type\":\"open\",\"conn\":1}\n", "{\"type\":\"accept\"}\n",
                           "{\"type\":\"accept\",\"conn\":-1}\n", "{\"type\":\"accept\",\"conn\":1.5}\n",
                           "{\"type\":\"accept\",\"conn\":1}\nrest", "{\"type\":\"accept\",\"conn\":1,\"metadata\":{\"a\":1}}\n",
                           "{\"type\":\"end\",\"conn\":1,\"direction\":\"up\",\"bytes\":1}\n",
                           "{\"type\":\"start\",\"conn\":1}\n", "{\"type\":\"accept\",\"conn\":1", "\x00\xff\n"}) {
    const auto read = decode_from_function(packet(text));
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, Code::protocol) << text;
  }
}

TEST(Message, sizes_are_bounded) {
  const std::string long_reason(limits::bf_text_max_bytes + 1, 'x');
  EXPECT_FALSE(decode_from_function(encode(FromFunction{Deny{1, long_reason}})));
  EXPECT_FALSE(decode_from_function(packet(std::string(limits::bf_message_max_bytes + 1, ' ') + "{}\n")));
  Accept crowded{1, {}, false};
  for (std::size_t i = 0; i <= limits::bf_map_entries; ++i) crowded.metadata[std::to_string(i)] = "x";
  EXPECT_FALSE(decode_from_function(encode(FromFunction{crowded})));
  EXPECT_FALSE(decode_from_function(packet("{\"type\":\"accept\",\"conn\":1,\"metadata\":" + std::string(50, '[') + std::string(50, ']') + "}\n")));
}

TEST(Message, early_counts_that_do_not_fit_are_refused) {
  EXPECT_FALSE(decode_to_function(packet("{\"type\":\"start\",\"conn\":1,\"direct\":[false,false],\"early\":[3,0]}\nab")));
  EXPECT_FALSE(decode_to_function(packet("{\"type\":\"start\",\"conn\":1,\"direct\":[false,false],\"early\":[18446744073709551615,1]}\n")));
}

}  // namespace
}  // namespace epif::bridge
