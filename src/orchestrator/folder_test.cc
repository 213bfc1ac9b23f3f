#include "orchestrator/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "api/pki.h"
#include "api/tokens.h"

namespace epif::orchestrator {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct FolderTest : testing::Test {
  std::string home = [] {
    char name[] = "/tmp/epif-folder-XXXXXX";
    return std::string(::mkdtemp(name));
  }();
  InitOptions options{.folder = home + "/orchestrator", .store = {}, .hosts = {}, .listen = *SocketAddress::parse("127.0.0.1:7443")};
  ~FolderTest() override { fs::remove_all(home); }

  unsigned mode() const {
    struct stat facts {};
    return ::stat(options.folder.c_str(), &facts) == 0 ? facts.st_mode & 07777 : 0;
  }
  /// What lies beside the folder and in it.
  std::vector<std::string> all() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(home)) out.push_back(entry.path().string());
    return out;
  }
};

TEST_F(FolderTest, a_new_folder_is_for_its_owner_and_everything_in_it_works_together) {
  const auto made = init(options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(mode(), 0700u);
  const Folder folder(options.folder);
  EXPECT_TRUE(api::CertificateAuthority::open(folder.path));
  auto store = open_store(folder.store);
  ASSERT_TRUE(store) << store.error().text();
  auto token = *api::read_file(folder.admin_token);
  token.pop_back();
  EXPECT_TRUE(api::check_user_token(**store, token, std::chrono::system_clock::now()));
  EXPECT_THAT(*api::read_file(folder.client), HasSubstr(folder.admin_token)) << "the path that it has now";
  EXPECT_EQ(init(options).error().code, Code::conflict);
}

TEST_F(FolderTest, a_folder_that_was_there_keeps_its_mode) {
  fs::create_directory(options.folder);
  ::chmod(options.folder.c_str(), 0750);
  const auto made = init(options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(mode(), 0750u);
}

TEST_F(FolderTest, a_folder_with_something_else_in_it_or_open_to_others_is_refused_untouched) {
  fs::create_directory(options.folder);
  ::chmod(options.folder.c_str(), 0777);
  const auto open = init(options);
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().code, Code::permission);
  ::chmod(options.folder.c_str(), 0755);
  std::ofstream(options.folder + "/letter") << "mine";
  const auto taken = init(options);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Code::conflict);
  EXPECT_EQ(mode(), 0755u);
  EXPECT_THAT(all(), testing::UnorderedElementsAre(options.folder, options.folder + "/letter"));
}

TEST_F(FolderTest, what_a_crashed_init_left_is_no_orchestrator_and_does_not_hinder_the_next) {
  fs::create_directory(options.folder + ".init");
  std::ofstream(options.folder + ".init/ca.key") << "half";
  std::ofstream(options.folder + ".init/ca.crt") << "half";
  EXPECT_FALSE(fs::exists(options.folder));
  const auto made = init(options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(api::CertificateAuthority::open(options.folder));
  EXPECT_FALSE(fs::exists(options.folder + ".init"));
}

TEST_F(FolderTest, a_slash_at_its_end_names_the_same_folder) {
  options.folder += "/";
  const auto made = init(options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(api::CertificateAuthority::open(home + "/orchestrator"));
}

TEST_F(FolderTest, a_failed_init_leaves_nothing) {
  options.hosts = {"not a host"};
  ASSERT_FALSE(init(options));
  EXPECT_TRUE(all().empty());
  options.hosts.clear();
  options.store = "sqlite:" + home + "/none/epif.db";
  ASSERT_FALSE(init(options));
  EXPECT_TRUE(all().empty());
  options.store = "sqlite:" + options.folder + "/other.db";
  const auto made = init(options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(fs::exists(options.folder + "/other.db"));
}

}  // namespace
}  // namespace epif::orchestrator
