// Chains that go on in another process: here the same one, by the same way.
#include <gtest/gtest.h>
#include <poll.h>
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

/// Copies what the client says until a '!', and then has seen enough. Serves one connection.
void release_at_a_word(const std::string& path) {
  const Fd listener(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener.get(), 8) != 0) return;
  Fd control;
  std::vector<std::uint8_t> packet(70'000);
  while (true) {
    iovec part{packet.data(), packet.size()};
    std::array<char, CMSG_SPACE(2 * sizeof(int))> room{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = room.data();
    header.msg_controllen = room.size();
    const auto got = control ? ::recvmsg(control.get(), &header, 0) : 0;
    if (got <= 0) {  // whoever looks whether somebody listens says nothing
      control = Fd(::accept(listener.get(), nullptr, nullptr));
      continue;
    }
    const auto message = bridge::decode_to_function(ByteSpan(packet).first(static_cast<std::size_t>(got)));
    if (!message) return;
    if (const auto* open = std::get_if<bridge::Open>(&*message)) say(control.get(), bridge::Accept{open->conn, {}, true});
    const auto* start = std::get_if<bridge::Start>(&*message);
    if (start == nullptr) continue;
    std::array<int, 2> streams{};
    std::memcpy(streams.data(), CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof streams);
    std::uint64_t copied = 0;
    pollfd readable{streams[0], POLLIN, 0};
    for (char byte = 0; byte != '!' && ::poll(&readable, 1, -1) == 1 && ::recv(streams[0], &byte, 1, 0) == 1; ++copied) {
      ::send(streams[1], &byte, 1, MSG_NOSIGNAL);
    }
    for (const int stream : streams) ::close(stream);
    say(control.get(), bridge::Release{start->conn, copied, 0});
    say(control.get(), bridge::Report{start->conn, copied, 0, "released", "seen enough", {}});
  }
}

std::vector<ChainLink> trusted(std::initializer_list<const FunctionProcess*> functions) {
  std::vector<ChainLink> links;
  for (const auto* function : functions) links.emplace_back(function->link()).trusted = true;
  return links;
}

TEST(Move, bytes_ends_and_reports_are_whole_wherever_it_moves) {
  const TemporaryFolder folder;
  FunctionProcess first(folder.path(), "first", "audit");
  FunctionProcess second(folder.path(), "second", "audit");
  ChainRig rig(trusted({&first, &second}), {"early ", {}, {}, {}});
  ASSERT_FALSE(rig.refusal());
  ASSERT_EQ(read_exactly(rig.server(), 6), "early ");
  EXPECT_TRUE(rig.move());
  ASSERT_TRUE(write_all(rig.client(), "question"));
  ASSERT_EQ(read_exactly(rig.server(), 8), "question");
  end_writing(rig.client());
  ASSERT_EQ(read_all(rig.server()).error, 0);
  EXPECT_TRUE(rig.move());  // one way has come to its end
  const auto answer = noise(3'000'000);
  auto sent = std::async(std::launch::async, [&] { return write_all(rig.server(), answer) && (end_writing(rig.server()), true); });
  const auto got = read_all(rig.client());
  EXPECT_EQ(got.error, 0);
  EXPECT_TRUE(got.bytes == answer);
  EXPECT_TRUE(sent.get());
  const auto report = rig.report();
  EXPECT_FALSE(report.failure) << report.failure->text();
  EXPECT_EQ(report.from_client, 14U);
  EXPECT_EQ(report.from_server, answer.size());
  for (const auto& function : report.functions) EXPECT_EQ(function.verdict, "passed");
}

TEST(Move, a_function_may_release_its_streams_afterwards_and_then_the_chain_stays) {
  const TemporaryFolder folder;
  FunctionProcess first(folder.path(), "first", release_at_a_word);
  FunctionProcess second(folder.path(), "second", "audit");
  ChainRig rig(trusted({&first, &second}), {});
  ASSERT_FALSE(rig.refusal());
  ASSERT_TRUE(write_all(rig.client(), "word"));
  ASSERT_EQ(read_exactly(rig.server(), 4), "word");
  EXPECT_TRUE(rig.move());
  ASSERT_TRUE(write_all(rig.client(), "!and more"));
  ASSERT_EQ(read_exactly(rig.server(), 9), "!and more");
  EXPECT_FALSE(rig.move());  // its bytes pass through this process
  ASSERT_TRUE(write_all(rig.server(), "answer"));
  end_writing(rig.server());
  end_writing(rig.client());
  EXPECT_EQ(read_all(rig.client()).bytes, "answer");
  EXPECT_EQ(read_all(rig.server()).error, 0);
  const auto report = rig.report();
  EXPECT_FALSE(report.failure) << report.failure->text();
  EXPECT_EQ(report.functions[0].verdict, "released");
}

TEST(Move, what_leaves_is_told_by_its_place_among_all_that_run) {
  const TemporaryFolder folder;
  FunctionProcess function(folder.path(), "one", "audit");
  FunctionProcess other(folder.path(), "other", "audit");
  ChainRig rig(trusted({&function}), {{}, {}, {}, {}, trusted({&other})});
  ASSERT_FALSE(rig.refusal());
  ASSERT_TRUE(write_all(rig.client(), "word"));
  ASSERT_EQ(read_exactly(rig.server(), 4), "word");
  EXPECT_TRUE(rig.move());
  end_writing(rig.client());
  end_writing(rig.server());
  EXPECT_EQ(read_all(rig.server()).error, 0);
  EXPECT_FALSE(rig.report().failure);
}

TEST(Move, a_cut_and_a_function_that_dies_reset_both_ends_afterwards) {
  const TemporaryFolder folder;
  FunctionProcess function(folder.path(), "one", "audit");
  for (const bool dies : {false, true}) {
    ChainRig rig(trusted({&function}), {});
    ASSERT_FALSE(rig.refusal());
    ASSERT_TRUE(write_all(rig.client(), "word"));
    ASSERT_EQ(read_exactly(rig.server(), 4), "word");
    EXPECT_TRUE(rig.move());
    if (dies) {
      function.kill();
    } else {
      rig.cut({Code::revoked, "gone"});
    }
    EXPECT_EQ(read_all(rig.client()).error, ECONNRESET);
    EXPECT_EQ(read_all(rig.server()).error, ECONNRESET);
    const auto report = rig.report();
    ASSERT_TRUE(report.failure);
    EXPECT_EQ(report.failure->code, dies ? Code::bf_failed : Code::revoked);
  }
}

TEST(Move, a_chain_through_this_process_stays) {
  const TemporaryFolder folder;
  FunctionProcess function(folder.path(), "one", "audit");
  ChainRig rig({function.link()}, {});
  ASSERT_FALSE(rig.refusal());
  ASSERT_TRUE(write_all(rig.client(), "word"));
  ASSERT_EQ(read_exactly(rig.server(), 4), "word");
  EXPECT_FALSE(rig.move());
}

}  // namespace
}  // namespace epif::functions
