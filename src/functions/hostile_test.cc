// A hostile bridging function: what it tries from inside its container, and how it lies in the contract. Outside of a
// container the same attempts work, which shows that the test would notice (positive control).
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>

#include "bridge/engine.h"
#include "bridge/image.h"
#include "bridge/instance.h"
#include "functions/chain_rig.h"

namespace epif::functions {
namespace {

std::filesystem::path hostile_program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "hostile-bf";
}

/// A listener in the proxy's network namespace that nobody may reach.
class ForbiddenListener {
 public:
  ForbiddenListener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(fd_.get(), 8), 0);
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
  }
  [[nodiscard]] bool reached() const { return Fd(::accept(fd_.get(), nullptr, nullptr)).get() >= 0; }
  [[nodiscard]] std::map<std::string, std::string> parameters() const { return {{"target_port", std::to_string(port_)}}; }

 private:
  Fd fd_;
  int port_ = 0;
};

/// What the probe noted, by attempt: "worked" or the system's words.
std::map<std::string, std::string> probe(ChainLink link, bool trusted, const ForbiddenListener& forbidden) {
  link.trusted = trusted;
  link.parameters = forbidden.parameters();
  ChainRig rig({link}, {});
  if (const auto refusal = rig.refusal()) return {{"refused", refusal->text()}};
  const auto report = rig.report();
  EXPECT_TRUE(report.failure);
  return report.functions.at(0).detail;
}

void run_program(const std::string& mode, const std::string& socket) {
  ::setenv("EPIF_BF_FUNCTION", mode.c_str(), 1);
  ::setenv("EPIF_BF_SOCKET", socket.c_str(), 1);
  ::execl(hostile_program().c_str(), "hostile-bf", nullptr);
}

class Hostile : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    auto service = bridge::EngineService::ensure(folder_->path());
    ASSERT_TRUE(service) << service.error().text();
    service_ = std::make_unique<bridge::EngineService>(*service);
    constexpr auto tag = "localhost/epif-hostile:latest";
    const auto image = bridge::make_image(hostile_program(), tag);
    ASSERT_TRUE(image) << image.error().text();
    const auto loaded = bridge::Engine(service_->socket()).load_image(image->archive, tag);
    ASSERT_TRUE(loaded) << loaded.error().text();
    image_ = loaded->id;
  }
  static void TearDownTestSuite() {
    if (service_) {
      EXPECT_TRUE(service_->destroy());
    }
    service_.reset();
    folder_.reset();
  }
  static ChainLink contained(const std::string& mode, bool trusted) {
    bridge::Instances instances(bridge::Engine(service_->socket()), "hostile", folder_->path());
    const auto running = instances.ensure_running({"h-" + mode, mode, image_, trusted, {}});
    EXPECT_TRUE(running) << running.error().text();
    ChainLink link;
    link.function = mode;
    link.instance = "h-" + mode;
    if (running) link.socket = running->socket, link.peer_pid = running->pid;
    return link;
  }
  void TearDown() override {
    EXPECT_TRUE(bridge::Instances(bridge::Engine(service_->socket()), "hostile", folder_->path()).remove_all());
  }
  inline static std::unique_ptr<TemporaryFolder> folder_;
  inline static std::unique_ptr<bridge::EngineService> service_;
  inline static std::string image_;
};

TEST_F(Hostile, outside_of_a_container_a_lent_socket_reaches_anything) {
  const ForbiddenListener forbidden;
  const FunctionProcess free(folder_->path(), "free", [](const std::string& socket) { run_program("probe", socket); });
  auto link = free.link();
  const auto tried = probe(link, true, forbidden);
  EXPECT_EQ(tried.at("lent_disconnect"), "worked");
  EXPECT_EQ(tried.at("connect_new_socket"), "worked");
  EXPECT_TRUE(forbidden.reached()) << "the control does not control";
}

TEST_F(Hostile, in_its_container_with_pairs_it_reaches_nothing) {
  const ForbiddenListener forbidden;
  const auto tried = probe(contained("probe", false), false, forbidden);
  for (const auto* attempt : {"connect_new_socket", "socket_packet", "socket_raw", "lent_reconnect", "lent_fast_open", "write_root",
                              "write_kernel", "become_root"}) {
    ASSERT_TRUE(tried.contains(attempt)) << attempt;
    EXPECT_NE(tried.at(attempt), "worked") << attempt;
  }
  EXPECT_FALSE(forbidden.reached());
}

TEST_F(Hostile, as_a_trusted_image_its_lent_sockets_lead_nowhere_else) {
  const ForbiddenListener forbidden;
  const auto tried = probe(contained("probe", true), true, forbidden);
  for (const auto* attempt : {"socket_inet", "socket_inet6", "socket_netlink", "socket_packet", "socket_raw", "lent_disconnect",
                              "lent_reconnect", "lent_fast_open", "write_root", "write_kernel", "become_root"}) {
    ASSERT_TRUE(tried.contains(attempt)) << attempt;
    EXPECT_NE(tried.at(attempt), "worked") << attempt;
  }
  EXPECT_EQ(tried.at("lent_disconnect"), "Operation not permitted");
  EXPECT_EQ(tried.at("write_root"), "Read-only file system");
  EXPECT_FALSE(forbidden.reached());
}

TEST_F(Hostile, a_socket_replaced_by_a_link_is_not_followed) {
  const auto link = contained("symlink", false);
  // It answers to the start before it replaces its socket.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!std::filesystem::is_symlink(link.socket) && std::chrono::steady_clock::now() < deadline) ::poll(nullptr, 0, 2);
  const auto refusal = ChainRig({link}, {}).refusal();
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, Code::bf_failed) << refusal->text();
  EXPECT_TRUE(std::filesystem::is_symlink(link.socket)) << "it did not replace its socket: the test shows nothing";
}

TEST_F(Hostile, floods_garbage_and_descriptors_fail_the_function) {
  for (const auto* mode : {"flood", "garbage", "descriptors"}) {
    ChainRig rig({contained(mode, false)}, {});
    const auto refusal = rig.refusal();
    const auto failure = refusal ? refusal : rig.report().failure;
    ASSERT_TRUE(failure) << mode;
    EXPECT_EQ(failure->code, Code::bf_failed) << mode << ": " << failure->text();
    EXPECT_NE(failure->text().find("contract"), std::string::npos) << mode << ": " << failure->text();
  }
}

TEST_F(Hostile, an_end_that_is_a_lie_never_looks_like_an_end) {
  for (const auto* mode : {"fake_end", "silent_end"}) {
    ChainRig rig({contained(mode, false)}, {});
    ASSERT_FALSE(rig.refusal());
    ASSERT_TRUE(write_all(rig.client(), noise(1000)));
    EXPECT_EQ(read_all(rig.server()).error, ECONNRESET) << mode;
    EXPECT_EQ(rig.report().failure->code, Code::bf_failed) << mode;
  }
}

TEST_F(Hostile, one_that_never_answers_is_given_up_in_time) {
  const auto link = contained("mute", false);
  const auto begin = net::Clock::now();
  const auto refusal = ChainRig({link}, {}).refusal();
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, Code::bf_failed);
  EXPECT_LT(net::Clock::now() - begin, std::chrono::milliseconds(limits::bf_accept_deadline_ms + 1'000));
}

}  // namespace
}  // namespace epif::functions
