// Real containers with podman: image, limits, no network, adoption after a restart, replacement of the dead, nothing left.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "base/fd.h"
#include "bridge/engine.h"
#include "bridge/image.h"
#include "bridge/instance.h"

namespace epif::bridge {
namespace {

constexpr const char* tag = "localhost/epif-bf-test:latest";

// The program lies where the build put it: build/NAME/src/bridge_test -> build/NAME/epif-bf.
std::filesystem::path static_program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "epif-bf";
}

std::string line_of(const std::string& file, const std::string& start) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(start)) return line;
  return "absent";
}

class Containers : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    char folder[] = "/tmp/epif-engine-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    state_ = folder;
    auto service = EngineService::ensure(state_);
    ASSERT_TRUE(service) << service.error().text();
    service_ = std::make_unique<EngineService>(*service);
    auto image = make_image(static_program(), tag);
    ASSERT_TRUE(image) << image.error().text();
    const auto loaded = Engine(service_->socket()).load_image(image->archive, tag);
    ASSERT_TRUE(loaded) << loaded.error().text();
    image_ = loaded->id;
    EXPECT_EQ(loaded->id, image->id) << "the ID is known before loading";
  }
  static void TearDownTestSuite() {
    if (service_) {
      const auto gone = service_->destroy();
      EXPECT_TRUE(gone) << gone.error().text();
      EXPECT_FALSE(std::filesystem::exists(state_ / "engine"));
    }
    service_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(state_, ignored);
  }
  static Instances instances() { return Instances(Engine(service_->socket()), "test", state_); }
  static InstanceSpec spec(const std::string& name, bool trusted = false) { return {name, "passthrough", image_, trusted, {}}; }

  inline static std::filesystem::path state_;
  inline static std::unique_ptr<EngineService> service_;
  inline static std::string image_;
};

TEST_F(Containers, an_image_is_found_by_id_name_and_digest) {
  const Engine engine(service_->socket());
  const auto by_id = engine.inspect_image(image_);
  ASSERT_TRUE(by_id) << by_id.error().text();
  EXPECT_EQ(engine.inspect_image(tag)->id, image_);
  ASSERT_FALSE(by_id->digests.empty());
  const auto manifest = by_id->digests[0].substr(by_id->digests[0].find('@'));
  ASSERT_NE(manifest, "@" + image_);
  auto all = instances();
  for (const auto& image : {image_, "localhost/epif-bf-test@" + image_, by_id->digests[0], "elsewhere/other" + manifest}) {
    auto pinned = spec("pinned");
    pinned.image = image;
    const auto running = all.ensure_running(pinned);
    ASSERT_TRUE(running) << image << ": " << running.error().text();
    EXPECT_EQ(running->image, image_) << image;
  }
  EXPECT_TRUE(all.remove_all());
}

TEST_F(Containers, an_image_behind_a_tag_is_refused) {
  auto by_tag = spec("by-tag");
  by_tag.image = tag;
  auto all = instances();
  const auto running = all.ensure_running(by_tag);
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().code, Code::invalid_input) << running.error().text();
  EXPECT_FALSE(std::filesystem::exists(state_ / "bf" / "by-tag"));
}

TEST_F(Containers, a_tag_that_another_image_took_leads_nowhere_and_an_image_that_vanished_is_missed_at_once) {
  const Engine engine(service_->socket());
  const auto foreign = make_image(Bytes{1, 2, 3}, tag);
  const auto loaded = engine.load_image(foreign.archive, tag);
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(engine.inspect_image(tag)->id, foreign.id) << "the tag moved";
  auto all = instances();
  const auto running = all.ensure_running(spec("moved"));
  ASSERT_TRUE(running) << running.error().text();
  EXPECT_EQ(running->image, image_) << "the digest decides";
  EXPECT_TRUE(all.remove_all());
  ASSERT_TRUE(engine.find_image(foreign.id));
  ASSERT_TRUE(engine.remove_image(foreign.id));
  const auto gone = engine.find_image(foreign.id);
  ASSERT_FALSE(gone) << "nothing is remembered that is not there";
  EXPECT_EQ(gone.error().code, Code::not_found) << gone.error().text();
  const auto again = engine.load_image(foreign.archive, tag);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_TRUE(engine.find_image(foreign.id));
  EXPECT_TRUE(engine.remove_image(foreign.id));
}

TEST_F(Containers, a_function_runs_confined) {
  for (const bool trusted : {false, true}) {
    auto all = instances();
    const auto running = all.ensure_running(spec(trusted ? "confined-t" : "confined", trusted));
    ASSERT_TRUE(running) << running.error().text();
    const auto status = fmt::format("/proc/{}/status", running->pid);
    EXPECT_EQ(line_of(status, "CapEff:"), "CapEff:\t0000000000000000");
    EXPECT_EQ(line_of(status, "CapBnd:"), "CapBnd:\t0000000000000000");
    EXPECT_EQ(line_of(status, "NoNewPrivs:"), "NoNewPrivs:\t1");
    EXPECT_EQ(line_of(status, "Seccomp:"), "Seccomp:\t2");
    EXPECT_EQ(line_of(status, "Uid:").find("\t0"), std::string::npos) << "root inside";
    const auto limits_file = fmt::format("/proc/{}/limits", running->pid);
    EXPECT_NE(line_of(limits_file, "Max open files").find("16384"), std::string::npos) << line_of(limits_file, "Max open files");
    EXPECT_NE(line_of(limits_file, "Max processes").find("64"), std::string::npos) << line_of(limits_file, "Max processes");
    // Its network namespace is its own and holds the loopback interface alone.
    EXPECT_NE(std::filesystem::read_symlink(fmt::format("/proc/{}/ns/net", running->pid)), std::filesystem::read_symlink("/proc/self/ns/net"));
    std::ifstream devices(fmt::format("/proc/{}/net/dev", running->pid));
    std::stringstream text;
    text << devices.rdbuf();
    EXPECT_EQ(text.str().find("eth"), std::string::npos) << text.str();
    EXPECT_EQ(line_of(fmt::format("/proc/{}/net/route", running->pid), "eth"), "absent");
    std::ifstream mounts(fmt::format("/proc/{}/mountinfo", running->pid));
    bool read_only = false;
    for (std::string line; std::getline(mounts, line);)
      if (line.find(" / / ro") != std::string::npos) read_only = true;
    EXPECT_TRUE(read_only) << "the root is writable";
    EXPECT_TRUE(all.remove(running->name));
  }
}

TEST_F(Containers, repeating_the_wish_keeps_the_same_process_and_a_changed_wish_replaces_it) {
  auto all = instances();
  const auto first = all.ensure_running(spec("steady"));
  ASSERT_TRUE(first) << first.error().text();
  auto restarted = instances();  // another life of the agent: nothing but labels tells it
  const auto second = restarted.ensure_running(spec("steady"));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->pid, first->pid);
  auto changed = spec("steady");
  changed.function = "audit";
  const auto third = restarted.ensure_running(changed);
  ASSERT_TRUE(third);
  EXPECT_NE(third->pid, first->pid);
  EXPECT_FALSE(process_alive(first->pid));
  EXPECT_TRUE(all.remove_all());
  EXPECT_FALSE(process_alive(third->pid));
}

TEST_F(Containers, a_killed_function_is_noticed_and_replaced) {
  auto all = instances();
  const auto first = all.ensure_running(spec("mortal"));
  ASSERT_TRUE(first) << first.error().text();
  ASSERT_TRUE(all.find("mortal"));
  ASSERT_EQ(::kill(static_cast<pid_t>(first->pid), SIGKILL), 0);
  const auto begin = std::chrono::steady_clock::now();
  while (process_alive(first->pid) && std::chrono::steady_clock::now() - begin < std::chrono::seconds(5)) {
  }
  EXPECT_FALSE(all.find("mortal"));
  const auto second = all.ensure_running(spec("mortal"));
  ASSERT_TRUE(second) << second.error().text();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  RecordProperty("replaced_ms", static_cast<int>(took.count()));
  EXPECT_LT(took.count(), 5'000);
  EXPECT_TRUE(all.remove_all());
}

TEST_F(Containers, an_absent_image_leaves_nothing_half_made) {
  auto wrong = spec("ghost");
  wrong.image = "sha256:" + std::string(64, '0');
  auto all = instances();
  const auto running = all.ensure_running(wrong);
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().code, Code::not_found) << running.error().text();
  EXPECT_FALSE(std::filesystem::exists(state_ / "bf" / "ghost"));
  const auto left = Engine(service_->socket()).list({{"epif.owner", "test"}});
  ASSERT_TRUE(left);
  EXPECT_TRUE(left->empty());
}

TEST_F(Containers, a_function_that_ends_at_once_is_reported_with_its_words) {
  auto wrong = spec("mistaken");
  wrong.function = "no-such-function";
  auto all = instances();
  const auto running = all.ensure_running(wrong);
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().code, Code::bf_failed);
  EXPECT_NE(running.error().text().find("no-such-function"), std::string::npos) << running.error().text();
  EXPECT_FALSE(std::filesystem::exists(state_ / "bf" / "mistaken"));
}

/// Takes connections on `path`, one after the other, and answers each request with what `answer` says; until the end.
class ScriptedEngine {
 public:
  ScriptedEngine(const std::string& path, std::function<std::string(const std::string& request)> answer) : answer_(std::move(answer)) {
    listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    thread_ = std::jthread([this] { serve(); });
  }
  ~ScriptedEngine() { ::shutdown(listener_.get(), SHUT_RDWR); }

 private:
  void serve() const {
    for (;;) {
      const Fd peer(::accept(listener_.get(), nullptr, nullptr));
      if (!peer) return;
      std::string request;
      std::array<char, 4096> part{};
      for (std::size_t whole = std::string::npos; request.size() < whole;) {
        const auto got = ::recv(peer.get(), part.data(), part.size(), 0);
        if (got <= 0) break;
        request.append(part.data(), static_cast<std::size_t>(got));
        const auto head = request.find("\r\n\r\n");
        const auto length = request.find("Content-Length: ");
        if (head != std::string::npos && length < head) whole = head + 4 + std::stoul(request.substr(length + 16));
      }
      const auto said = answer_(request);
      EXPECT_EQ(::send(peer.get(), said.data(), said.size(), MSG_NOSIGNAL), static_cast<ssize_t>(said.size()));
    }
  }
  std::function<std::string(const std::string&)> answer_;
  Fd listener_;
  std::jthread thread_;
};

TEST(EngineCalls, podman_gets_the_path_of_a_seccomp_profile_and_docker_its_content) {
  char folder[] = "/tmp/epif-scripted-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const auto profile = std::string(folder) + "/profile.json";
  std::ofstream(profile) << R"({"defaultAction": "SCMP_ACT_KILL"})" << std::flush;
  for (const bool podman : {false, true}) {
    const auto path = fmt::format("{}/{}.sock", folder, podman);
    std::string asked;
    const ScriptedEngine scripted(path, [&](const std::string& request) -> std::string {
      if (request.find("/libpod/_ping") != std::string::npos && !podman) return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
      if (request.find("/libpod/_ping") != std::string::npos) return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
      asked = request;
      return "HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{\"Id\":\"abc\"}";
    });
    ContainerSpec spec;
    spec.name = "one";
    spec.image = "sha256:" + std::string(64, '0');
    spec.uid = 200'000;
    spec.seccomp = profile;
    const auto made = Engine(path).create(spec);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(*made, "abc");
    EXPECT_EQ(asked.find("SCMP_ACT_KILL") == std::string::npos, podman) << asked;
    EXPECT_EQ(asked.find("seccomp=" + profile) != std::string::npos, podman) << asked;
  }
  std::filesystem::remove_all(folder);
}

TEST(EngineCalls, an_engine_that_does_not_answer_is_one_clear_error) {
  const auto absent = Engine("/nowhere/engine.sock").ping();
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, Code::engine);
  char folder[] = "/tmp/epif-silent-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const auto path = std::string(folder) + "/engine.sock";
  const Fd silent(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(silent.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(silent.get(), 8), 0);
  const auto hung = Engine(path, 100).ping();
  ASSERT_FALSE(hung);
  EXPECT_EQ(hung.error().code, Code::engine);
  EXPECT_NE(hung.error().text().find("no answer in time"), std::string::npos) << hung.error().text();
  std::filesystem::remove_all(folder);
}

TEST(Image, equal_programs_give_equal_images) {
  const Bytes program{1, 2, 3};
  EXPECT_EQ(make_image(program, "a:b").id, make_image(program, "c:d").id);
  EXPECT_EQ(make_image(program, "a:b").archive, make_image(program, "a:b").archive);
  EXPECT_NE(make_image(program, "a:b").id, make_image(Bytes{1, 2, 4}, "a:b").id);
}

}  // namespace
}  // namespace epif::bridge
