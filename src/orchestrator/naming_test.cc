#include "orchestrator/naming.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/assignment.h"
#include "orchestrator/sample.h"
#include "orchestrator/status.h"

namespace epif::orchestrator {
namespace {

using testing::HasSubstr;
const std::chrono::system_clock::time_point start{std::chrono::seconds(1'795'000'000)};

TEST(Naming, an_application_that_is_refused_or_has_failed_holds_no_alias) {
  const auto store = store::make_memory_store();
  const auto status = [&](const std::string& application) { return parse_status(sample::status(*store, application)).value(); };
  const auto range = Cidr::parse("198.18.0.0/28").value();  // 14 names
  auto domains = std::string(sample::domains);
  domains.insert(domains.find("addresses: [10.2.0.10,"), "hostname: pacs.research, ");
  domains += "---\napiVersion: epif/v1\nkind: Domain\nmetadata: {name: many}\nspec: {jurisdiction: EU}\n"
             "---\napiVersion: epif/v1\nkind: ProxyNode\nmetadata: {name: proxy, domain: many}\nspec: {addresses: [10.4.0.2]}\n";
  std::string all = "apiVersion: epif/v1\nkind: Application\nmetadata: {name: all}\nspec:\n  purpose: treatment\n  flows:\n";
  for (int i = 0; i < 14; ++i) {
    const auto node = "n" + std::to_string(i);
    domains += "---\napiVersion: epif/v1\nkind: Node\nmetadata: {name: " + node + ", domain: many}\nspec: {addresses: [10.4.1." +
               std::to_string(i) + "], hostname: " + node + ".many, proxy: proxy}\n";
    all += "    - {name: f" + std::to_string(i) + ", from: umc/modality, to: many/" + node + ", port: 80, data: push}\n";
  }
  sample::apply(*store, domains);
  sample::apply(*store, all);
  ASSERT_NE(sample::settle(*store, start, "many", range), 0);
  EXPECT_EQ(status("all").phase, Phase::denied) << status("all").reason;
  sample::apply(*store, sample::imaging);
  ASSERT_NE(sample::settle(*store, start, "many", range), 0);
  EXPECT_EQ(status("imaging").phase, Phase::running) << status("imaging").reason;
  EXPECT_EQ(status("all").phase, Phase::denied);
  EXPECT_THAT(status("all").reason, HasSubstr("the authoriser of many refused"));
  // Nor does one that has just been applied, until all have answered; there is none for it, and nobody is asked.
  auto again = all;
  again.replace(again.find("name: all"), 9, "name: again");
  for (auto at = again.find("port: 80"); at != std::string::npos; at = again.find("port: 80")) again.replace(at, 8, "port: 81");
  sample::apply(*store, again);
  ASSERT_NE(sample::settle(*store, start, "many", range), 0);
  EXPECT_EQ(status("imaging").phase, Phase::running) << status("imaging").reason;
  EXPECT_EQ(status("again").phase, Phase::failed);
  EXPECT_THAT(status("again").reason, HasSubstr("of the 14 addresses of 198.18.0.0/28, 14 are in use and 0 rest"));
  for (const auto kind : {access_request_kind, node_request_kind}) {
    for (const auto& record : store->list(kind)->records) EXPECT_FALSE(record.name.ends_with("/again")) << record.name;
  }
}

}  // namespace
}  // namespace epif::orchestrator
