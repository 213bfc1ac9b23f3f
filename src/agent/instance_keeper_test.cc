#include "agent/instance_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/fd.h"

namespace epif::agent {
namespace {

using testing::HasSubstr;

/// A folder for one test, and what a keeper needs to know.
struct Keeping : testing::Test {
  std::string folder = [] {
    char name[] = "/tmp/epif-keeper-XXXXXX";
    return std::string(::mkdtemp(name));
  }();
  KeeperOptions options{.state = folder, .owner = "umc/proxy", .engine = folder + "/engine.sock", .engine_deadline_ms = 150};
  ~Keeping() override { std::filesystem::remove_all(folder); }

  /// Listens where the engine should, lets clients connect, and never says a word.
  Fd silent_engine() const {
    Fd out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    options.engine.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(out.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(out.get(), 16), 0);
    return out;
  }

  /// What the keeper says about the one function that is wished, once it knows.
  InstanceView outcome() const {
    std::mutex mutex;
    std::condition_variable changed;
    bool news = false;
    InstanceKeeper keeper(options, {}, [&] {
      const std::lock_guard lock(mutex);
      news = true;
      changed.notify_all();
    });
    keeper.wish({{"audit", "audit", "sha256:" + std::string(64, 'a'), false}});
    for (;;) {
      const auto views = keeper.views();
      if (const auto found = views.find("audit"); found != views.end() && found->second.state != "starting") return found->second;
      std::unique_lock lock(mutex);
      if (!changed.wait_for(lock, std::chrono::seconds(10), [&] { return std::exchange(news, false); })) return {"silent", {}, {}, 0};
    }
  }
};

TEST_F(Keeping, an_engine_that_accepts_and_never_answers_fails_its_functions_within_the_deadline) {
  const auto engine = silent_engine();
  const auto began = std::chrono::steady_clock::now();
  const auto view = outcome();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2)) << "one question, one deadline";
  EXPECT_EQ(view.state, "failed");
  EXPECT_THAT(view.reason, HasSubstr(options.engine + ": the container engine does not answer: no answer in time"));
}

TEST_F(Keeping, an_engines_socket_that_is_not_there_fails_its_functions_at_once) {
  const auto view = outcome();
  EXPECT_EQ(view.state, "failed");
  EXPECT_THAT(view.reason, HasSubstr(options.engine + ": the container engine does not answer: No such file or directory"));
  EXPECT_THAT(view.reason, HasSubstr("check that the engine runs"));
}

TEST_F(Keeping, what_held_streams_of_a_proxy_that_died_is_running_no_more_although_it_lives_as_it_is_wished) {
  const WishedInstance wished{"audit", "audit", "sha256:" + std::string(64, 'a'), false};
  InstanceKeeper keeper(options, {{"audit", {"running", {}, "/bf.sock", ::getpid(), wished}}}, [] {});
  EXPECT_EQ(keeper.views().at("audit").state, "running");
  keeper.renew();
  EXPECT_EQ(keeper.views().at("audit").state, "starting");
  EXPECT_EQ(keeper.views().at("audit").pid, 0);
  EXPECT_THAT(keeper.views().at("audit").reason, HasSubstr("its proxy died"));
  keeper.wish({wished});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (keeper.views().at("audit").state == "starting" && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(keeper.views().at("audit").state, "failed") << "without an engine it cannot be known to be gone";
}

TEST_F(Keeping, an_image_that_is_not_pinned_is_never_asked_for) {
  const auto refused = ensure_image(bridge::Engine(options.engine), options, "localhost/epif-bf:latest");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::invalid_input) << refused.error().text();
}

}  // namespace
}  // namespace epif::agent
