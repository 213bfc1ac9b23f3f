#include "bridge/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>

namespace epif::bridge {
namespace {

/// Reads all messages that are there and appends their connection numbers.
void read_all(int fd, std::vector<std::uint64_t>& seen) {
  Bytes packet(64 * 1024);
  for (;;) {
    const auto got = ::recv(fd, packet.data(), packet.size(), MSG_DONTWAIT);
    if (got <= 0) return;
    const auto message = decode_to_function(ByteSpan(packet).first(static_cast<std::size_t>(got)));
    ASSERT_TRUE(message) << message.error().text();
    seen.push_back(std::get<Cut>(*message).conn);
  }
}

// The socket takes some number of messages; the one after it waits outside of the queue. Every likely count is tried.
TEST(control, messages_to_a_slow_function_never_overtake_each_other) {
  char folder[] = "/tmp/epif-control-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  ChainLink link;
  link.instance = "slow";
  link.socket = std::string(folder) + "/bf.sock";
  auto listener = net::listen_unix(link.socket, SOCK_SEQPACKET);
  ASSERT_TRUE(listener) << listener.error().text();
  auto loop = net::Loop::make();
  ASSERT_TRUE(loop);
  const std::string reason(1'000, 'x');
  for (std::uint64_t count = 60; count < 140; ++count) {
    auto control = Control::connect(**loop, link);
    ASSERT_TRUE(control) << control.error().text();
    const Fd function(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(function);
    std::uint64_t conn = 0;
    while (conn < count) (*control)->send(Cut{++conn, reason});
    std::vector<std::uint64_t> seen;
    read_all(function.get(), seen);
    (*control)->send(Cut{++conn, reason});  // there is room now, but older messages may not have left
    while (seen.size() < conn) {
      (*loop)->run_once(std::chrono::milliseconds(0));
      read_all(function.get(), seen);
    }
    EXPECT_TRUE(std::ranges::is_sorted(seen)) << "after " << count << " messages";
    (*control)->fail({Code::bf_failed, "the test is over"});
    (*loop)->run_once(std::chrono::milliseconds(0));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace epif::bridge
