#include "orchestrator/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "api/pki.h"
#include "api/tokens.h"
#include "base/limits.h"
#include "orchestrator/service.h"

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
  fs::create_directory(options.folder);
  fs::create_directory(options.folder + "/.init");
  ::chmod((options.folder + "/.init").c_str(), 0700);
  std::ofstream(options.folder + "/.init/ca.key") << "half";
  std::ofstream(options.folder + "/.init/ca.crt.new.17") << "half";
  std::ofstream(options.folder + "/admin.token") << "moved up already";
  EXPECT_FALSE(api::CertificateAuthority::open(options.folder));
  const auto made = init(options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(api::CertificateAuthority::open(options.folder));
  EXPECT_FALSE(fs::exists(options.folder + "/.init"));
  EXPECT_THAT(*api::read_file(options.folder + "/admin.token"), HasSubstr("epif-user."));
}

TEST_F(FolderTest, what_no_init_made_is_never_removed) {
  fs::create_directories(options.folder + ".init");
  std::ofstream(options.folder + ".init/letter") << "mine";
  fs::create_directories(options.folder + "/.init");
  ::chmod((options.folder + "/.init").c_str(), 0700);
  std::ofstream(options.folder + "/.init/letter") << "mine";
  std::ofstream(options.folder + "/server.key") << "mine";
  const auto before = all();
  const auto made = init(options);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::conflict);
  EXPECT_THAT(made.error().text(), HasSubstr("letter"));
  EXPECT_THAT(all(), testing::UnorderedElementsAreArray(before));
  fs::remove_all(options.folder);
  ASSERT_TRUE(init(options));
  EXPECT_EQ(*api::read_file(options.folder + ".init/letter"), "mine") << "a folder beside it is not init's";
}

TEST_F(FolderTest, a_folder_of_another_user_is_refused_untouched) {
  fs::create_directory(options.folder);
  ::chmod(options.folder.c_str(), 0700);
  ASSERT_EQ(::chown(options.folder.c_str(), 65534, 65534), 0) << "needs root";
  const auto made = init(options);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::permission);
  EXPECT_THAT(made.error().text(), HasSubstr("another user owns"));
  EXPECT_THAT(all(), testing::ElementsAre(options.folder));
  fs::remove(options.folder);
  fs::create_directories(options.folder + "/.init");
  ::chmod((options.folder + "/.init").c_str(), 0777);
  EXPECT_EQ(init(options).error().code, Code::permission) << "others could have put a key there";
}

/// Runs `body` in a child of its own and returns its exit code.
template <class Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) _exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(FolderTest, an_own_folder_is_enough_under_a_parent_that_is_not_ours_or_as_a_mounted_volume) {
  ASSERT_EQ(::chmod(home.c_str(), 0755), 0);
  fs::create_directory(options.folder);
  ASSERT_EQ(::chown(options.folder.c_str(), 65534, 65534), 0) << "needs root";
  EXPECT_EQ(in_child([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 2;
    return init(options) ? 0 : 1;
  }), 0);
  EXPECT_TRUE(fs::exists(options.folder + "/ca.key"));
  options.folder = home + "/volume";
  fs::create_directory(options.folder);
  EXPECT_EQ(in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", options.folder.c_str(), "tmpfs", 0, "size=4m,mode=700") != 0) return 2;
    return init(options) && api::CertificateAuthority::open(options.folder) ? 0 : 1;
  }), 0);
}

TEST_F(FolderTest, a_store_on_which_an_orchestrator_works_is_refused_and_left_as_it_is) {
  const auto first = init(options);
  ASSERT_TRUE(first) << first.error().text();
  const auto store = Folder(options.folder).store;
  auto running = Service::start({options.folder, {}, *SocketAddress::parse("127.0.0.1:0")});
  ASSERT_TRUE(running) << running.error().text();
  auto other = options;
  other.folder = home + "/other";
  other.store = store;
  const auto refused = init(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::conflict);
  EXPECT_THAT(refused.error().text(), HasSubstr("another orchestrator works on this store"));
  EXPECT_FALSE(fs::exists(other.folder));
  running->reset();
  const auto now = init(other);
  EXPECT_TRUE(now) << now.error().text();
}

TEST_F(FolderTest, a_store_in_the_folder_is_known_however_its_path_is_written) {
  for (const auto& path : {home + "/./orchestrator//epif.db", home + "/x/../orchestrator/epif.db"}) {
    options.store = "sqlite:" + path;
    const auto made = init(options);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_TRUE(fs::exists(options.folder + "/epif.db"));
    fs::remove_all(options.folder);
  }
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
  options.store = "sqlite:" + home + "/outside.db";
  options.user = std::string(2 * limits::document_max_bytes, 'x');  // the store is made, its first token is not
  ASSERT_FALSE(init(options));
  EXPECT_TRUE(all().empty());
  options.user = "admin";
  options.store = "sqlite:" + options.folder + "/other.db";
  const auto made = init(options);
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(fs::exists(options.folder + "/other.db"));
}

}  // namespace
}  // namespace epif::orchestrator
