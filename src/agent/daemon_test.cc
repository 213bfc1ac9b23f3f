#include "agent/daemon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace epif::agent {
namespace {

struct Daemons : testing::Test {
  std::string folder = [] {
    char name[] = "/tmp/epif-daemon-XXXXXX";
    return std::string(::mkdtemp(name));
  }();
  std::string log = folder + "/log";
  std::string mark = folder + "/routes.json";
  Daemon daemon{"proxy", log, mark};
  ~Daemons() override {
    static_cast<void>(daemon.stop());
    std::filesystem::remove_all(folder);
  }
};

/// Called like the real ones, `PROGRAM NAME ... MARK`; the shell runs the script "proxy" of the current folder.
std::vector<std::string> sleeper(const std::string& mark, const std::string& note = "a") {
  return {"/bin/sh", "proxy", mark, note};
}

/// Until a successor, if one is needed, serves or was given up.
Result<> settle(Daemon& daemon, const std::vector<std::string>& command) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  auto kept = daemon.ensure(command);
  while (daemon.replacing() && std::chrono::steady_clock::now() < deadline) {
    pollfd look{daemon.watch_fd(), POLLIN, 0};
    ::poll(&look, 1, 10);
    kept = daemon.ensure(command);
  }
  return kept;
}

struct Sleeping : Daemons {
  std::string home = [] { return std::filesystem::current_path().string(); }();
  void SetUp() override {
    std::filesystem::current_path(folder);
    // As the real ones do: asked by a successor, it says that it drains. A successor that was told "broken", or finds the file
    // "broken-now", does not serve.
    std::ofstream("proxy") << "trap 'exit 0' TERM\n"
                              "trap 'printf epif-draining > /proc/$$/comm' USR1\n"
                              "refuse() { printf 'epif: descriptors are used up\\nanother speaks\\n'; exit 1; }\n"
                              "case \"$*\" in *broken*--take-over) exit 1;; *--take-over) [ -e broken-now ] && refuse;; esac\n"
                              "case \"$*\" in *slow*--take-over) ;; *--take-over) kill -USR1 $(cat pid);; esac\n"
                              "echo $$ > pid\n"
                              "while :; do sleep 0.02; done\n";
  }
  /// A successor asks the process whose number stands there.
  static void wait_until_it_can_be_asked(std::int64_t pid) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (std::int64_t says = 0; says != pid && std::chrono::steady_clock::now() < deadline;) {
      std::ifstream("pid") >> says;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  void TearDown() override {
    static_cast<void>(daemon.stop());
    std::filesystem::current_path(home);
  }
};

TEST_F(Sleeping, what_an_earlier_agent_started_is_adopted_and_never_doubled) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark)));
  const auto pid = daemon.pid();
  Daemon next("proxy", log, mark);
  ASSERT_TRUE(next.ensure(sleeper(mark)));
  EXPECT_EQ(next.pid(), pid);
  EXPECT_TRUE(next.running());
}

TEST_F(Daemons, what_the_process_has_just_forked_is_not_taken_for_it) {
  std::filesystem::current_path(folder);
  std::ofstream("proxy") << "(while :; do sleep 1; done) & trap 'kill $!; exit 0' TERM; echo ready; wait\n";
  ASSERT_TRUE(daemon.ensure(sleeper(mark)));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  std::string said;
  while (said != "ready" && std::chrono::steady_clock::now() < deadline) std::ifstream(log) >> said;
  Daemon next("proxy", log, mark);
  ASSERT_TRUE(next.ensure(sleeper(mark)));
  EXPECT_EQ(next.pid(), daemon.pid());
  std::filesystem::current_path("/");
}

TEST_F(Sleeping, other_arguments_replace_the_process) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark, "a")));
  const auto pid = daemon.pid();
  wait_until_it_can_be_asked(pid);
  ASSERT_TRUE(settle(daemon, sleeper(mark, "b")));
  EXPECT_NE(daemon.pid(), pid);
  EXPECT_EQ(::kill(static_cast<pid_t>(pid), 0), 0) << "the old one does not drain";
  Daemon other("proxy", log, mark);
  ASSERT_TRUE(other.ensure(sleeper(mark, "b")));
  EXPECT_EQ(other.pid(), daemon.pid()) << "what drains was adopted";
  const Fd drains(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  ASSERT_TRUE(daemon.stop());
  pollfd look{drains.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&look, 1, 0), 1) << "a stop leaves what drains";
}

TEST_F(Sleeping, a_successor_that_does_not_serve_costs_nothing_and_is_tried_again) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark, "a")));
  const auto pid = daemon.pid();
  wait_until_it_can_be_asked(pid);
  std::ofstream("broken-now");
  EXPECT_FALSE(settle(daemon, sleeper(mark, "b")));
  EXPECT_TRUE(daemon.running());
  EXPECT_EQ(daemon.pid(), pid) << "the old one was ended for a program that cannot serve";
  EXPECT_THAT(daemon.not_replaced(), testing::HasSubstr("descriptors are used up"));
  EXPECT_FALSE(daemon.ensure(sleeper(mark, "b"))) << "it is told to run as it is wished to";
  EXPECT_FALSE(daemon.replacing()) << "tried again without a pause";
  std::filesystem::remove("broken-now");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (daemon.pid() == pid && std::chrono::steady_clock::now() < deadline) {
    static_cast<void>(settle(daemon, sleeper(mark, "b")));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_NE(daemon.pid(), pid) << "no successor was tried again";
  EXPECT_EQ(daemon.not_replaced(), "");
}

TEST_F(Sleeping, a_wish_that_is_taken_back_leaves_no_trouble_behind) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark, "a")));
  const auto pid = daemon.pid();
  EXPECT_FALSE(settle(daemon, sleeper(mark, "broken")));
  EXPECT_NE(daemon.not_replaced(), "");
  EXPECT_TRUE(daemon.ensure(sleeper(mark, "a")));
  EXPECT_EQ(daemon.pid(), pid);
  EXPECT_EQ(daemon.not_replaced(), "");
}

TEST_F(Sleeping, a_newer_version_that_does_not_serve_leaves_what_runs_in_place_without_an_error) {
  std::filesystem::copy("/bin/sh", "sh");
  auto command = sleeper(mark);
  command.front() = folder + "/sh";
  ASSERT_TRUE(daemon.ensure(command));
  wait_until_it_can_be_asked(daemon.pid());
  std::filesystem::copy("/bin/sh", "sh.new");
  std::filesystem::rename("sh.new", "sh");
  std::ofstream("broken-now");
  Daemon next("proxy", log, mark);
  EXPECT_TRUE(settle(next, command)) << "its options are those that are wished";
  EXPECT_EQ(next.pid(), daemon.pid());
  EXPECT_THAT(next.not_replaced(), testing::HasSubstr("descriptors are used up"));
}

TEST_F(Sleeping, an_old_one_that_shows_another_identity_or_speaks_another_protocol_does_not_stay) {
  auto command = sleeper(mark, "--cert");
  command.emplace_back("before.crt");
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--cert", "after.crt"}, {"--cert", "after.crt", "--mptcp"}}) {
    ASSERT_TRUE(settle(daemon, command));
    const auto pid = daemon.pid();
    wait_until_it_can_be_asked(pid);
    std::ofstream("broken-now");
    command.resize(3);
    command.insert(command.end(), more.begin(), more.end());
    EXPECT_FALSE(settle(daemon, command));
    EXPECT_TRUE(daemon.gone(command.front())) << "nobody could see that it ended";
    ASSERT_TRUE(settle(daemon, command));
    EXPECT_TRUE(daemon.running());
    EXPECT_NE(daemon.pid(), pid);
    std::filesystem::remove("broken-now");
  }
}

TEST_F(Sleeping, when_an_unfinished_successor_ends_the_one_that_serves_is_found_again) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark, "a")));
  const auto serves = daemon.pid();
  wait_until_it_can_be_asked(serves);
  Daemon unfinished("another name", log, mark);  // as an agent leaves it that died while it replaced
  ASSERT_TRUE(unfinished.ensure(sleeper(mark, "b")));
  Daemon next("proxy", log, mark);
  ASSERT_TRUE(next.ensure(sleeper(mark, "b")));
  ASSERT_EQ(next.pid(), unfinished.pid());
  wait_until_it_can_be_asked(next.pid());
  ASSERT_TRUE(next.running());
  ASSERT_EQ(::kill(static_cast<pid_t>(next.pid()), SIGKILL), 0);
  pollfd look{next.watch_fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&look, 1, 5000), 1);
  std::ofstream("pid") << serves << std::endl;
  auto again = settle(next, sleeper(mark, "b"));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!again && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_until(next.retry_at());
    again = settle(next, sleeper(mark, "b"));
  }
  ASSERT_TRUE(again);
  std::string name;
  std::ifstream("/proc/" + std::to_string(serves) + "/comm") >> name;
  EXPECT_EQ(name, "epif-draining") << "a second one was started beside the one that serves";
}

TEST_F(Sleeping, what_an_earlier_agent_started_from_another_program_is_replaced) {
  std::filesystem::copy("/bin/sh", "sh");
  auto command = sleeper(mark);
  command.front() = folder + "/sh";
  ASSERT_TRUE(daemon.ensure(command));
  const auto pid = daemon.pid();
  wait_until_it_can_be_asked(pid);
  std::filesystem::copy("/bin/sh", "sh.new");
  std::filesystem::rename("sh.new", "sh");
  ASSERT_TRUE(daemon.ensure(command));
  EXPECT_EQ(daemon.pid(), pid) << "the agent that started it does not look at the file";
  Daemon next("proxy", log, mark);
  ASSERT_TRUE(settle(next, command));
  EXPECT_NE(next.pid(), pid);
}

TEST_F(Sleeping, while_a_successor_does_not_serve_yet_the_old_one_does_and_nobody_waits) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark, "a")));
  const auto pid = daemon.pid();
  ASSERT_TRUE(daemon.ensure(sleeper(mark, "slow")));
  ASSERT_TRUE(daemon.ensure(sleeper(mark, "slow")));
  EXPECT_TRUE(daemon.replacing());
  EXPECT_TRUE(daemon.running());
  EXPECT_EQ(daemon.pid(), pid);
  const Fd successor(::dup(daemon.watch_fd()));
  ASSERT_TRUE(daemon.stop());
  EXPECT_FALSE(daemon.replacing());
  pollfd look{successor.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&look, 1, 0), 1) << "a stop leaves the successor";
}

TEST_F(Sleeping, stop_ends_a_process_that_another_agent_started) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark)));
  Daemon other("proxy", log, mark);
  ASSERT_TRUE(other.stop());
  EXPECT_FALSE(daemon.running());
}

TEST_F(Sleeping, a_killed_process_is_noticed_and_started_again) {
  ASSERT_TRUE(daemon.ensure(sleeper(mark)));
  const auto pid = daemon.pid();
  ASSERT_EQ(::kill(static_cast<pid_t>(pid), SIGKILL), 0);
  pollfd look{daemon.watch_fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&look, 1, 5000), 1);
  auto again = daemon.ensure(sleeper(mark));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!again && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_until(daemon.retry_at());
    again = daemon.ensure(sleeper(mark));
  }
  ASSERT_TRUE(again);
  EXPECT_NE(daemon.pid(), pid);
}

TEST_F(Daemons, a_process_that_dies_at_once_gives_its_last_words) {
  ASSERT_TRUE(daemon.ensure({"/bin/sh", "proxy-that-is-not-there", mark}));
  pollfd look{daemon.watch_fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&look, 1, 5000), 1);
  EXPECT_FALSE(daemon.ensure({"/bin/sh", "proxy-that-is-not-there", mark}));
  EXPECT_THAT(daemon.trouble(), testing::HasSubstr("proxy-that-is-not-there"));
}

TEST_F(Daemons, short_work_that_is_not_done_in_time_is_an_error) {
  EXPECT_TRUE(daemon.run({"/bin/sh", "-c", "exit 0"}));
  const auto late = daemon.run({"/bin/sleep", "60"}, std::chrono::milliseconds(100));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::timeout);
  EXPECT_FALSE(daemon.running());
}

TEST_F(Daemons, a_program_that_is_not_there_is_an_error_with_its_path) {
  const auto started = daemon.ensure({"/no/such/program", "proxy", mark});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().where, "/no/such/program");
}

}  // namespace
}  // namespace epif::agent
