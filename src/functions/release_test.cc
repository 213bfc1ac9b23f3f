// A BF that has seen enough releases its streams: the proxy joins the neighbours, and the BF may even die.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <future>

#include "bridge/message.h"
#include "functions/chain_rig.h"

namespace epif::functions {
namespace {

void say(int control, const bridge::FromFunction& message) {
  const auto packet = bridge::encode(message);
  ::send(control, packet.data(), packet.size(), MSG_NOSIGNAL);
}

// Accepts, releases at `start` without having read a byte, reports.
void release_at_once(const std::string& path) {
  const Fd listener(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener.get(), 8) != 0) return;
  std::vector<std::uint8_t> packet(70'000);
  for (;;) {
    const Fd control(::accept(listener.get(), nullptr, nullptr));
    for (;;) {
      // Without room for descriptors they are closed on arrival: this function keeps nothing.
      const auto got = ::recv(control.get(), packet.data(), packet.size(), 0);
      if (got <= 0) break;
      const auto message = bridge::decode_to_function(ByteSpan(packet).first(static_cast<std::size_t>(got)));
      if (!message) break;
      if (const auto* open = std::get_if<bridge::Open>(&*message)) say(control.get(), bridge::Accept{open->conn, {}, true});
      if (const auto* start = std::get_if<bridge::Start>(&*message)) {
        say(control.get(), bridge::Release{start->conn, 0, 0});
        say(control.get(), bridge::Report{start->conn, 0, 0, "released", "seen enough", {}});
      }
    }
  }
}

class Release : public testing::TestWithParam<bool> {};

TEST_P(Release, the_neighbours_are_joined_and_both_ends_stay_proper) {
  const bool trusted = GetParam();
  const TemporaryFolder folder;
  FunctionProcess first(folder.path(), "first", release_at_once);
  FunctionProcess second(folder.path(), "second", "audit");
  FunctionProcess third(folder.path(), "third", release_at_once);
  std::vector<ChainLink> links{first.link(), second.link(), third.link()};
  for (auto& link : links) link.trusted = trusted;
  ChainRig rig(links, {});
  ASSERT_FALSE(rig.refusal());
  ASSERT_TRUE(write_all(rig.client(), "x"));
  ASSERT_EQ(read_exactly(rig.server(), 1), "x");
  first.kill();  // it has done its part
  const auto up = noise(3'000'000, 1), down = noise(2'000'000, 2);
  auto sent_up = std::async(std::launch::async, [&] { return write_all(rig.client(), up) && (end_writing(rig.client()), true); });
  auto sent_down = std::async(std::launch::async, [&] { return write_all(rig.server(), down) && (end_writing(rig.server()), true); });
  auto got_down = std::async(std::launch::async, [&] { return read_all(rig.client()); });
  const auto got_up = read_all(rig.server());
  EXPECT_EQ(got_up.error, 0);
  EXPECT_TRUE(got_up.bytes == up);
  const auto down_read = got_down.get();
  EXPECT_EQ(down_read.error, 0);
  EXPECT_TRUE(down_read.bytes == down);
  EXPECT_TRUE(sent_up.get() && sent_down.get());
  const auto report = rig.report();
  EXPECT_FALSE(report.failure) << report.failure->text();
  EXPECT_EQ(report.functions[0].verdict, "released");
  EXPECT_EQ(report.functions[1].verdict, "passed");
}

INSTANTIATE_TEST_SUITE_P(Legs, Release, testing::Bool());

}  // namespace
}  // namespace epif::functions
