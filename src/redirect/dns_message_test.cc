#include "redirect/dns_message.h"

#include <gtest/gtest.h>

namespace epif::redirect {
namespace {

/// Id 0x1234, recursion wished, one question for Pacs.Research of the type in hex.
Bytes query(const std::string& type) { return from_hex("123401000001000000000000" "04506163730852657365617263680" "0" + type + "0001"); }

TEST(DnsMessage, TheQuestionIsReadInLowerCase) {
  const auto question = read_question(query("0001"));
  ASSERT_TRUE(question);
  EXPECT_EQ(question->name, "pacs.research");
  EXPECT_EQ(question->id, 0x1234);
  EXPECT_EQ(question->type, dns::type_a);
  EXPECT_EQ(question->end, query("0001").size());
}

TEST(DnsMessage, AnAnswerHoldsTheAddressesOfTheTypeThatWasAskedFor) {
  const std::vector<IpAddress> addresses{*IpAddress::parse("10.2.0.20"), *IpAddress::parse("fd02::20")};
  const auto asked = query("0001");
  EXPECT_EQ(to_hex(dns_answer(asked, *read_question(asked), addresses)),
            "123485800001000100000000" "0450616373085265736561726368000001" "0001" "c00c000100010000003c00040a020014");
  const auto six = query("001c");
  EXPECT_TRUE(to_hex(dns_answer(six, *read_question(six), addresses)).ends_with("c00c001c00010000003c0010fd020000000000000000000000000020"));
  const auto mail = query("000f");
  EXPECT_EQ(to_hex(dns_answer(mail, *read_question(mail), addresses)), "123485800001000000000000" "0450616373085265736561726368" "00000f0001");
}

TEST(DnsMessage, ARefusalSaysSo) {
  const auto asked = query("0001");
  EXPECT_EQ(to_hex(dns_refusal(asked, *read_question(asked))).substr(0, 24), "123481850001000000000000");
}

TEST(DnsMessage, BrokenMessagesAreNoQuestionAtAnyLength) {
  const auto whole = query("0001");
  for (std::size_t length = 0; length < whole.size(); ++length) EXPECT_FALSE(read_question(ByteSpan(whole).first(length))) << length;
  auto answer = whole;
  answer[2] |= 0x80;
  EXPECT_FALSE(read_question(answer));
  auto pointer = whole;
  pointer[12] = 0xC0;  // a compressed name has no place in a question
  EXPECT_FALSE(read_question(pointer));
  auto two = whole;
  two[5] = 2;
  EXPECT_FALSE(read_question(two));
}

}  // namespace
}  // namespace epif::redirect
