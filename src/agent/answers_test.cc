#include "agent/answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace epif::agent {
namespace {

using testing::HasSubstr;

DomainRequest request() {
  DomainRequest out;
  out.application = "imaging";
  out.purpose = "research";
  out.domain = "umc";
  out.answerer = "umc/proxy";
  out.nodes = {"umc/modality", "umc/proxy"};
  out.images = {"sha256:aa"};
  return out;
}
const auto no_image_check = [](const std::string&) { return Result<>(); };

TEST(Authoriser, without_rules_a_domain_refuses_nothing) {
  const auto answer = authorise(request(), {}, {});
  EXPECT_TRUE(answer.granted);
  EXPECT_EQ(answer.question, request().question());
  EXPECT_EQ(answer.by, "umc/proxy");
}

TEST(Authoriser, a_domain_with_rules_allows_only_what_one_of_them_names) {
  const std::vector<AuthoriserRule> treatment{{{"treatment"}, {}}};
  const std::vector<AuthoriserRule> both{{{"treatment"}, {}}, {{"research"}, {"imaging"}}};
  const std::vector<AuthoriserRule> other{{{"research"}, {"another"}}};
  EXPECT_FALSE(authorise(request(), treatment, {}).granted);
  EXPECT_TRUE(authorise(request(), both, {}).granted);
  EXPECT_FALSE(authorise(request(), other, {}).granted);
  EXPECT_FALSE(authorise(request(), std::vector<AuthoriserRule>{}, {}).granted);
}

TEST(Authoriser, local_rules_tighten_and_never_loosen) {
  const std::vector<AuthoriserRule> all{{{}, {}}};
  const std::vector<AuthoriserRule> nothing;
  LocalRules deny_research;
  deny_research.deny = {{{"research"}, {}}};
  LocalRules allow_treatment;
  allow_treatment.allow = {{{"treatment"}, {}}};
  LocalRules allow_all;
  allow_all.allow = all;
  EXPECT_FALSE(authorise(request(), all, deny_research).granted);
  EXPECT_FALSE(authorise(request(), all, allow_treatment).granted);
  EXPECT_FALSE(authorise(request(), nothing, allow_all).granted);
  EXPECT_THAT(authorise(request(), all, deny_research).reason, HasSubstr("local rule"));
}

TEST(Provisioner, withholds_what_the_domain_withholds) {
  LocalRules rules;
  rules.withheld = {"umc/modality"};
  const auto answer = provision(request(), rules, no_image_check);
  EXPECT_FALSE(answer.granted);
  EXPECT_THAT(answer.reason, HasSubstr("umc/modality"));
}

TEST(Provisioner, an_image_that_is_not_there_is_the_answer) {
  const auto answer = provision(request(), {}, [](const std::string& image) {
    return Result<>(fail(Code::not_found, "the image is not there", image));
  });
  EXPECT_FALSE(answer.granted);
  EXPECT_THAT(answer.reason, HasSubstr("sha256:aa: the image is not there"));
}

TEST(Question, changes_with_whatever_is_asked) {
  auto other = request();
  other.purpose = "treatment";
  EXPECT_NE(other.question(), request().question());
  other = request();
  other.nodes.push_back("umc/third");
  EXPECT_NE(other.question(), request().question());
}

}  // namespace
}  // namespace epif::agent
