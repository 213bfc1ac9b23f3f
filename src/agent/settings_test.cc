#include "agent/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace epif::agent {
namespace {

using testing::HasSubstr;

struct SettingsFile : testing::Test {
  std::string path = [] {
    char name[] = "/tmp/epif-settings-XXXXXX";
    ::close(::mkstemp(name));
    return std::string(name);
  }();
  ~SettingsFile() override { std::filesystem::remove(path); }
  Result<Settings> read(const std::string& text) const {
    std::ofstream(path) << text;
    return read_settings(path);
  }
};

TEST_F(SettingsFile, holds_where_and_who_and_the_domains_own_rules) {
  const auto settings = read(
      "orchestrator: https://10.0.0.1:7443\nnode: umc/proxy\nstate: /var/lib/epif\n"
      "authoriser:\n  allow: [{purpose: [treatment]}]\n  deny: [{application: bad}]\n"
      "provisioner: {withhold: [umc/lab]}\n");
  ASSERT_TRUE(settings) << settings.error().text();
  EXPECT_EQ(settings->node, "umc/proxy");
  EXPECT_EQ(settings->rules.allow->at(0).purposes, std::vector<std::string>{"treatment"});
  EXPECT_EQ(settings->rules.deny.at(0).applications, std::vector<std::string>{"bad"});
  EXPECT_EQ(settings->rules.withheld, std::vector<std::string>{"umc/lab"});
}

TEST_F(SettingsFile, faults_name_file_and_line) {
  const auto typo = read("node: umc/proxy\nauthorizer: {}\n");
  ASSERT_FALSE(typo);
  EXPECT_THAT(typo.error().text(), HasSubstr(path + ":2:1"));
  EXPECT_THAT(typo.error().text(), HasSubstr("authorizer"));
  const auto broken = read("node: [umc\n");
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().text(), HasSubstr(path + ":"));
}

TEST_F(SettingsFile, a_token_file_that_is_not_there_is_named) {
  const auto settings = read("tokenFile: /no/such/token\n");
  ASSERT_FALSE(settings);
  EXPECT_THAT(settings.error().text(), HasSubstr("/no/such/token"));
}

}  // namespace
}  // namespace epif::agent
