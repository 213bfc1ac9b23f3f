#include "model/field_place.h"

#include <gtest/gtest.h>

#include "model/document.h"

namespace epif {
namespace {

constexpr std::string_view text = R"(# two documents
kind: Node
metadata: {name: a, domain: umc}
spec:
  addresses: [10.1.0.1]
  proxy: nobody
---
- kind: Application
  metadata: {name: app}
  spec:
    purpose: care
    flows:
      - {name: f, from: umc/a, to: umc/a, port: 80}
      - name: g
        from: umc/a
        to: umc/zz
        port: 81
)";

TEST(FieldPlace, a_faults_subject_leads_to_the_line_of_its_field) {
  auto set = ResourceSet();
  const auto resources = parse_resources(text, "site.yaml");
  ASSERT_TRUE(resources) << resources.error().text();
  for (const auto& resource : *resources) set.put(resource);
  const auto place = [&] {
    const auto bad = set.check();
    const auto subject = subject_of(bad.error());
    EXPECT_TRUE(subject) << bad.error().text();
    const auto object = set.find(subject->kind, subject->object);
    EXPECT_TRUE(object) << subject->object;
    return field_place(text, metadata_of(*object).origin, subject->field).text();
  };
  EXPECT_EQ(place(), "site.yaml:6:3");
  set.nodes.at("umc/a").proxy.clear();
  EXPECT_EQ(place(), "site.yaml:16:9");
}

TEST(FieldPlace, what_is_not_there_has_the_place_of_what_holds_it) {
  const Origin document{"f", 2, 1};
  EXPECT_EQ(field_place(text, document, "spec.rtt").line, 4);
  EXPECT_EQ(field_place(text, document, "spec.flows[3].to").line, 4);
  EXPECT_EQ(field_place(text, document, "spec.addresses[7]").line, 5);
  EXPECT_EQ(field_place(text, document, "spec.addresses[").line, 5);
  EXPECT_EQ(field_place(text, document, "").line, 2);
  EXPECT_EQ(field_place(text, {"f", 99, 1}, "spec.proxy").line, 99);
  EXPECT_EQ(field_place("{[", document, "spec.proxy").line, 2);
}

TEST(FieldPlace, other_errors_have_no_subject) {
  for (const auto* what : {"", "Node", "Node 'x'", "Nothing 'a', b: c", "the policy 'a', b: c", "Node 'a: b', c"}) {
    EXPECT_FALSE(subject_of({Code::invalid_input, what})) << what;
  }
}

}  // namespace
}  // namespace epif
