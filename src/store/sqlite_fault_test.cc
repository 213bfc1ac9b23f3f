#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "store/store.h"

namespace epif::store {
namespace {

constexpr const char* outsider = "EPIF_TEST_OUTSIDER";  ///< environment: this run of the program is one, for this path

/// What a program that knows nothing of epif gets when it reads the file: an SQLite result code.
int read_as_outsider(const std::string& path) {
  sqlite3* handle = nullptr;
  sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE, nullptr);
  const int result = sqlite3_exec(handle, "SELECT count(*) FROM sqlite_master", nullptr, nullptr, nullptr);
  sqlite3_close(handle);
  return result;
}

class SqliteFault : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* theirs = std::getenv(outsider)) {
      const auto second = open_sqlite(theirs);
      const bool refused = !second && second.error().code == Code::conflict;
      _exit(!refused ? 1 : read_as_outsider(theirs) != SQLITE_BUSY ? 2 : 0);
    }
    folder = testing::TempDir() + "epif-fault-XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    path = folder + "/epif.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  /// Runs `body` in a child with mounts of its own (a tmpfs with `options` over `folder`); its exit code.
  template <class Body>
  int in_child_with_tmpfs(const char* options, Body body) {
    const pid_t child = fork();
    if (child == 0) {
      if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          mount("tmpfs", folder.c_str(), "tmpfs", 0, options) != 0) {
        _exit(99);  // not root
      }
      _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string folder;
  std::string path;
};

/// Writes pairs of resources for ever; after each acknowledged transaction, tells its number through `acknowledge`.
[[noreturn]] void write_for_ever(const std::string& path, int acknowledge) {
  auto store = open_sqlite(path);
  if (!store) _exit(1);
  for (std::uint64_t i = 0;; ++i) {
    const auto spec = "{\"n\":" + std::to_string(i) + "}";
    const Write pair[] = {{Write::Type::put, "Left", std::to_string(i % 50), "{}", spec},
                          {Write::Type::put, "Right", std::to_string(i % 50), "{}", spec}};
    if (!(*store)->commit(pair)) _exit(2);
    if (!(*store)->append_audit(spec)) _exit(3);
    if (write(acknowledge, &i, sizeof i) != sizeof i) _exit(4);
  }
}

TEST_F(SqliteFault, KillDuringWritesLosesNothingAcknowledgedAndHalvesNothing) {
  std::uint64_t acknowledged = 0;
  for (int round = 0; round < 5; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const Fd reader(ends[0]);
    const pid_t child = fork();
    if (child == 0) write_for_ever(path, ends[1]);
    close(ends[1]);
    // The kill falls somewhere into the writes that follow the last number read.
    for (int i = 0; i < 20 + 7 * round; ++i) ASSERT_EQ(read(reader.get(), &acknowledged, 8), 8);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);

    auto store = open_sqlite(path);
    ASSERT_TRUE(store) << store.error().text();
    const auto left = (*store)->list("Left").value().records;
    const auto right = (*store)->list("Right").value().records;
    ASSERT_EQ(left.size(), right.size());
    for (std::size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i].spec, right[i].spec);
    ASSERT_GE((*store)->revision(), 2 * (acknowledged + 1));
    EXPECT_EQ((*store)->events("", 0, 1'000'000).value().size(), (*store)->revision());
    const auto lines = (*store)->audit(0, 1'000'000).value();
    EXPECT_GE(lines.size(), acknowledged + 1);
    EXPECT_EQ(first_broken_line(lines), 0u);
    store->reset();
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
  }
}

TEST_F(SqliteFault, WhatWasWrittenIsThereAfterReopening) {
  {
    auto store = open_sqlite(path).value();
    ASSERT_TRUE(store->put("Node", "a", "{}", "{}"));
    ASSERT_TRUE(store->compact(1));
  }
  auto store = open_sqlite(path).value();
  EXPECT_EQ(store->revision(), 1u);
  EXPECT_EQ(store->get("Node", "a").value().version, 1u);
  EXPECT_EQ(store->events("", 0, 1).error().code, Code::expired);
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(SqliteFault, AFullDiskIsAClearErrorAndTheStoreGoesOnWhenThereIsRoom) {
  const int exit = in_child_with_tmpfs("size=512k", [&] {
    auto store = open_sqlite(path);
    if (!store) return 1;
    std::optional<Error> error;
    int written = 0;
    for (int i = 0; i < 100 && !error; ++i) {
      const auto done = (*store)->put("Node", std::to_string(i), "{}", std::string(20'000, 'x'));
      if (!done) {
        error = done.error();
      } else {
        ++written;
      }
    }
    if (!error || error->code != Code::io || error->text().find(path) == std::string::npos) return 2;
    if ((*store)->list("Node").value().records.size() != static_cast<std::size_t>(written)) return 3;
    if (mount("tmpfs", folder.c_str(), "tmpfs", MS_REMOUNT, "size=16m") != 0) return 4;
    return (*store)->put("Node", "after", "{}", "{}") ? 0 : 5;
  });
  EXPECT_EQ(exit, 0) << "99: needs root for a mount of its own";
}

TEST_F(SqliteFault, AReadOnlyFolderIsAClearError) {
  const int exit = in_child_with_tmpfs("size=1m,ro", [&] {
    const auto store = open_sqlite(path);
    if (store) return 1;
    return store.error().where == path && !store.error().why.empty() ? 0 : 2;
  });
  EXPECT_EQ(exit, 0) << "99: needs root for a mount of its own";
}

/// Opens and reads `path` in a program of its own: a fork alone would share SQLite's table of this process's locks.
/// 0 if both are refused.
int use_from_another_program(const std::string& path) {
  const pid_t child = fork();
  if (child == 0) {
    setenv(outsider, path.c_str(), 1);
    execl("/proc/self/exe", "outsider", "--gtest_filter=SqliteFault.AMissingFolderIsNamed", nullptr);
    _exit(99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(SqliteFault, ASecondProcessOnTheSameFileIsRefusedWithTheReason) {
  auto store = open_sqlite(path).value();
  EXPECT_EQ(use_from_another_program(path), 0) << "1: it could open the store; 2: it could read the file";
  EXPECT_FALSE(open_sqlite(path)) << "nor may this process open it twice";
  EXPECT_EQ(use_from_another_program(path), 0) << "an attempt of its own process must not cost the store its locks";
}

/// Grants a consent; after a byte from `go_on` withdraws it; says so each time through `done`.
[[noreturn]] void hold_store(const std::string& path, int go_on, int done) {
  auto store = open_sqlite(path);
  char byte = 0;
  if (!store || !(*store)->put("Consent", "first", "{}", "{}") || write(done, &byte, 1) != 1) _exit(1);
  if (read(go_on, &byte, 1) != 1 || !(*store)->remove("Consent", "first") || write(done, &byte, 1) != 1) _exit(2);
  for (;;) pause();
}

TEST_F(SqliteFault, AnOutsideReaderCannotMakeCommittedWritesVanish) {
  int go_on[2];
  int done[2];
  ASSERT_EQ(pipe(go_on), 0);
  ASSERT_EQ(pipe(done), 0);
  const Fd ends[] = {Fd(go_on[0]), Fd(go_on[1]), Fd(done[0]), Fd(done[1])};
  const pid_t child = fork();
  if (child == 0) hold_store(path, go_on[0], done[1]);
  char byte = 0;
  ASSERT_EQ(read(done[0], &byte, 1), 1);
  EXPECT_EQ(read_as_outsider(path), SQLITE_BUSY);
  ASSERT_EQ(write(go_on[1], &byte, 1), 1);
  ASSERT_EQ(read(done[0], &byte, 1), 1);
  EXPECT_TRUE(std::filesystem::exists(path + "-wal")) << "the reader removed the log that the store writes";
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const auto store = open_sqlite(path);
  ASSERT_TRUE(store) << store.error().text();
  EXPECT_FALSE((*store)->get("Consent", "first")) << "a withdrawn consent is back";
  EXPECT_EQ((*store)->revision(), 2u);
}

TEST_F(SqliteFault, AFileThatIsNoDatabaseIsRefusedAndLeftAlone) {
  const std::string text(5'000, 'n');
  std::ofstream(path) << text;
  const auto store = open_sqlite(path);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::invalid_input) << store.error().text();
  EXPECT_EQ(std::filesystem::file_size(path), text.size());
}

TEST_F(SqliteFault, AMissingFolderIsNamed) {
  const auto store = open_sqlite(folder + "/none/epif.db");
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().where, folder + "/none/epif.db");
}

}  // namespace
}  // namespace epif::store
