#include "model/assignment.h"

#include <gtest/gtest.h>

namespace epif {
namespace {

TEST(Assignment, AFieldOfAWrongTypeIsAFaultOfTheDocumentNotOfTheProgram) {
  for (const auto* text : {R"({"granted":"yes"})", R"({"question":1})", R"({"granted":null})"}) {
    const auto answer = parse_answer(text);
    ASSERT_FALSE(answer) << text;
    EXPECT_EQ(answer.error().code, Code::invalid_input);
  }
  for (const auto* text : {R"({"instances":{}})", R"({"instances":["x"]})", R"({"errors":[1]})", R"({"generation":"1"})",
                           R"({"generation":1.5})"}) {
    EXPECT_FALSE(parse_report(text)) << text;
  }
  EXPECT_FALSE(parse_request(R"({"flows":[1]})"));
  EXPECT_FALSE(parse_assignment(R"({"node":"umc/pacs","role":"endpoint"})")) << "without routes";
  EXPECT_FALSE(parse_removal(R"({"role":"removed","revision":"x"})"));
}

TEST(Assignment, ANumberIsReadAsItStandsThereOrRefused) {
  EXPECT_EQ(parse_request(R"({"flows":[{"port":65535}]})")->flows.front().port, 65'535);
  for (const auto* port : {"65536", "65616", "-1", "1e9"}) {
    EXPECT_FALSE(parse_request(std::string(R"({"flows":[{"port":)") + port + "}]}")) << port;
  }
  EXPECT_FALSE(parse_report(R"({"instances":[{"pid":18446744073709551615}]})"));
  EXPECT_FALSE(parse_removal(R"({"role":"removed","at":18446744073709551615})"));
}

TEST(Assignment, AliasesAreReadAsTheyWerePrintedAndNoneAreNoField) {
  Assignment assignment;
  assignment.node = assignment.routes.node = "umc/modality";
  EXPECT_EQ(print(assignment).find("aliases"), std::string::npos);
  assignment.aliases = {{"old.research", *IpAddress::parse("198.18.0.2"), 7, std::chrono::sys_seconds(std::chrono::seconds(1'795'000'000))},
                        {"pacs.research", *IpAddress::parse("198.18.0.1")},
                        {"soon.research", *IpAddress::parse("198.18.0.3"), 9}};
  const auto read = parse_assignment(print(assignment));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_TRUE(*read == assignment);
  for (const auto* wrong :
       {R"("x")", R"({"name":"a"})", R"({"name":"a","address":"x"})", R"({"name":"a","address":"10.0.0.1","freed":-1})"}) {
    auto text = print(assignment);
    const auto at = text.find("\"aliases\":[") + 11;
    EXPECT_FALSE(parse_assignment(text.substr(0, at) + wrong + "]}")) << wrong;
  }
  Removal removal{"umc/modality", 12, std::chrono::sys_seconds(std::chrono::seconds(1'795'000'000))};
  EXPECT_EQ(print(removal).find("aliases"), std::string::npos);
  removal.aliases = assignment.aliases;
  const auto noted = parse_removal(print(removal));
  ASSERT_TRUE(noted);
  EXPECT_EQ(noted->aliases, removal.aliases);
  EXPECT_EQ(noted->revision, 12u);
  EXPECT_FALSE(parse_assignment(print(removal)));
  auto newer = print(assignment);
  newer.insert(newer.find("\"routes\":{") + 10, "\"notYet\":1,");
  EXPECT_FALSE(parse_assignment(newer));
  EXPECT_EQ(parse_aliases(newer), assignment.aliases);
  EXPECT_EQ(parse_aliases(print(removal)), assignment.aliases);
  const auto ended = R"({"aliases":[{"name":"soon.research","address":"198.18.0.3","freed":9,"until":1795000000,"awaited":true}]})";
  EXPECT_EQ(parse_aliases(ended).at(0), assignment.aliases[2]) << "an older program's end of what is awaited";
  for (const auto* wrong : {"", "[]", "{}", R"({"aliases":[1]})"}) EXPECT_TRUE(parse_aliases(wrong).empty()) << wrong;
}

}  // namespace
}  // namespace epif
