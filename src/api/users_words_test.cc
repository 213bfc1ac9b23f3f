#include "api/users_words.h"

#include <gtest/gtest.h>

#include "model/document.h"

namespace epif::api {
namespace {

/// As read from files that are not there any more: places are those of documents then.
std::vector<Resource> resources() {
  auto all = parse_resources("kind: Domain\nmetadata: {name: umc}\nspec: {}\n---\nkind: Node\nmetadata: {name: a, domain: umc}\nspec: {}\n", "gone.yaml");
  auto policies = parse_resources("kind: Policy\nmetadata: {name: p}\nspec:\n  text: |\n    // one\n    permit(principal);\n---\n"
                                  "kind: Policy\nmetadata: {name: q}\nspec: {text: permit(principal);}\n", "p.yaml");
  std::vector<Resource> out(*all);
  out.insert(out.end(), policies->begin(), policies->end());
  return out;
}

Error told(std::string what, std::string where) { return in_users_words({Code::invalid_input, std::move(what), std::move(where)}, resources()); }

TEST(UsersWords, a_line_of_the_request_becomes_the_users_document_and_object) {
  const auto error = told("is not allowed", "request.json:3:1");
  EXPECT_EQ(error.where, "gone.yaml:5:1");
  EXPECT_EQ(error.what, "Node 'umc/a': is not allowed");
}

TEST(UsersWords, places_inside_of_policies_are_counted_in_the_users_text) {
  EXPECT_EQ(told("no", "Policy/p:2:7").where, "p.yaml:6:7");
  EXPECT_EQ(told("no", "Policy/p:2:7").what, "Policy 'p', spec.text: no");
  EXPECT_EQ(told("no", "request.json:5:60").where, "p.yaml:10:14");
}

TEST(UsersWords, an_object_that_is_named_is_found_and_others_are_left_alone) {
  EXPECT_EQ(told("Node 'umc/a', spec.proxy: none", "").where, "gone.yaml:5:1");
  EXPECT_EQ(told("changed", "Domain umc").where, "gone.yaml:1:1");
  EXPECT_EQ(told("Node 'umc/b', spec.proxy: none", "Node umc/b").where, "Node umc/b");
  EXPECT_EQ(told("no answer", "https://10.0.0.1:7443").text(), "https://10.0.0.1:7443: no answer");
}

TEST(UsersWords, no_place_of_the_request_is_left_in_the_text) {
  const auto error = told("Node 'umc/a', spec.addresses: 10.0.0.1 belongs to another (request.json:2:1)", "request.json:99:1");
  EXPECT_EQ(error.text().find("request.json"), std::string::npos) << error.text();
  EXPECT_NE(error.what.find("(gone.yaml:1:1)"), std::string::npos) << error.what;
}

}  // namespace
}  // namespace epif::api
