#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "policy/case.h"

namespace epif::policy {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// The public decision tests of the Cedar language (tests/data/cedar): every decision, reason and error as theirs.
TEST(CedarCases, AllDecisionsAgree) {
  const fs::path root = "tests/data/cedar";
  std::size_t requests = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".json") continue;
    const auto text = text_of(entry.path());
    if (!Case::looks_like(text)) continue;
    const auto test = Case::parse(text, entry.path().string());
    ASSERT_TRUE(test) << test.error().text();
    const auto policies = parse_policies(text_of(root / test->policies_path), test->policies_path);
    ASSERT_TRUE(policies) << policies.error().text();
    const auto entities = Entities::parse(text_of(root / test->entities_path), test->entities_path);
    ASSERT_TRUE(entities) << entities.error().text();
    for (const auto& request : test->requests) {
      EXPECT_EQ(difference(request, authorize(*policies, *entities, request.request)), "")
          << entry.path() << request.description;
      ++requests;
    }
  }
  EXPECT_GE(requests, 150u);
}

TEST(CedarCases, ADifferenceIsTold) {
  const auto test =
      Case::parse(R"({"policies": "p", "entities": "e", "requests": [{"principal": "U::\"a\"", "action": "Action::\"x\"",
    "resource": "U::\"b\"", "context": {}, "decision": "allow", "reason": ["policy0"], "errors": []}]})",
                  "case.json");
  ASSERT_TRUE(test) << test.error().text();
  EXPECT_EQ(difference(test->requests[0], Decision{}),
            "decision should be allow and is deny; reason should be [\"policy0\"] and is []");
  EXPECT_FALSE(Case::parse(R"({"policies": "p", "entities": "e", "requests": [{}]})", "case.json"));
  EXPECT_FALSE(Case::looks_like("[]"));
}

}  // namespace
}  // namespace epif::policy
