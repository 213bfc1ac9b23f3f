// Chains of real BF processes between two TCP connections: what passes, how it ends, and what happens when a BF dies.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>

#include "functions/chain_rig.h"

namespace epif::functions {
namespace {


class Chains : public testing::Test {
 protected:
  ChainLink add(const std::string& function, std::map<std::string, std::string> parameters = {}, bool trusted = false) {
    const auto name = function + std::to_string(processes_.size());
    processes_.push_back(std::make_unique<FunctionProcess>(folder_.path(), name, function));
    const bool half = function == "encrypt" || function == "decrypt";
    auto link = processes_.back()->link(std::move(parameters), half ? "pair" : "");
    link.trusted = trusted;
    return link;
  }
  FunctionProcess& process(std::size_t i) { return *processes_[i]; }
  static ChainRig::Options with_key() {
    ChainRig::Options options;
    options.keys["pair"] = hpke::Secret(Bytes(32, 0x11));
    return options;
  }
  TemporaryFolder folder_;
  std::vector<std::unique_ptr<FunctionProcess>> processes_;
};

// Sends `up` and `down` at once, ends both, and expects both to arrive whole with an orderly end.
void expect_exchange(ChainRig& rig, const std::string& up, const std::string& down, const std::string& early_up = {}) {
  ASSERT_FALSE(rig.refusal()) << rig.refusal()->text();
  auto sent_up = std::async(std::launch::async, [&] { return write_all(rig.client(), up) && (end_writing(rig.client()), true); });
  auto sent_down = std::async(std::launch::async, [&] { return write_all(rig.server(), down) && (end_writing(rig.server()), true); });
  auto got_down = std::async(std::launch::async, [&] { return read_all(rig.client()); });
  const auto got_up = read_all(rig.server());
  EXPECT_TRUE(sent_up.get() && sent_down.get());
  EXPECT_EQ(got_up.error, 0);
  EXPECT_TRUE(got_up.bytes == early_up + up) << got_up.bytes.size() << " of " << up.size();
  const auto down_read = got_down.get();
  EXPECT_EQ(down_read.error, 0);
  EXPECT_TRUE(down_read.bytes == down);
}

TEST_F(Chains, all_functions_together_pass_both_directions_whole) {
  auto keyed = with_key();
  ChainRig rig({add("firewall"), add("audit"), add("encrypt"), add("decrypt"), add("audit"), add("passthrough")}, std::move(keyed));
  const auto up = noise(5'000'003, 1), down = noise(3'000'001, 2);
  expect_exchange(rig, up, down);
  const auto report = rig.report();
  EXPECT_FALSE(report.failure) << report.failure->text();
  EXPECT_EQ(report.from_client, up.size());
  EXPECT_EQ(report.from_server, down.size());
  ASSERT_EQ(report.functions.size(), 6u);
  for (const auto& function : report.functions) EXPECT_EQ(function.verdict, "passed") << function.instance;
  // The audits before encrypt and after decrypt saw the same bytes; between them they were others.
  for (const auto* way : {"sha256_to_server", "sha256_to_client"})
    EXPECT_EQ(report.functions[1].detail.at(way), report.functions[4].detail.at(way));
  EXPECT_GT(report.functions[2].bytes_to_server, up.size());
}

TEST_F(Chains, trusted_functions_copy_between_the_sockets_themselves) {
  ChainRig rig({add("audit", {}, true), add("firewall", {}, true)}, {});
  expect_exchange(rig, noise(2'000'000, 3), noise(1'000'000, 4));
  const auto report = rig.report();
  EXPECT_FALSE(report.failure) << report.failure->text();
  EXPECT_EQ(report.from_client, 2'000'000u);
  EXPECT_EQ(report.from_server, 1'000'000u);
}

TEST_F(Chains, early_bytes_come_first_whatever_their_size) {
  for (const std::size_t size : {1ul, 16'384ul, 40'000ul})
    for (const bool trusted : {false, true}) {
      const auto early = noise(size, 5);
      ChainRig::Options options;
      options.early_client = early;
      ChainRig rig({add("passthrough", {}, trusted), add("passthrough", {}, trusted)}, std::move(options));
      expect_exchange(rig, "and the rest", "answer", early);
      EXPECT_FALSE(rig.report().failure);
    }
}

TEST_F(Chains, a_server_may_speak_first) {
  ChainRig rig({add("firewall", {{"protocol", "ssh"}}), add("passthrough")}, {});
  ASSERT_TRUE(write_all(rig.server(), "SSH-2.0-there\r\n"));
  EXPECT_EQ(read_exactly(rig.client(), 15), "SSH-2.0-there\r\n");
}

TEST_F(Chains, one_direction_may_end_while_the_other_goes_on) {
  for (const bool trusted : {false, true}) {
    ChainRig rig({add("passthrough", {}, trusted), add("audit", {}, trusted)}, {});
    ASSERT_TRUE(write_all(rig.client(), "question"));
    end_writing(rig.client());
    const auto question = read_all(rig.server());
    EXPECT_EQ(question.bytes, "question");
    EXPECT_EQ(question.error, 0);
    const auto answer = noise(300'000, 6);
    auto sent = std::async(std::launch::async, [&] { return write_all(rig.server(), answer) && (end_writing(rig.server()), true); });
    const auto got = read_all(rig.client());
    EXPECT_TRUE(sent.get());
    EXPECT_EQ(got.error, 0);
    EXPECT_TRUE(got.bytes == answer);
    EXPECT_FALSE(rig.report().failure);
  }
}

TEST_F(Chains, a_reset_is_passed_on_as_a_reset) {
  for (const bool trusted : {false, true}) {
    ChainRig rig({add("passthrough", {}, trusted), add("audit", {}, trusted)}, {});
    ASSERT_TRUE(write_all(rig.client(), "half of a"));
    EXPECT_EQ(read_exactly(rig.server(), 9), "half of a");
    rig.reset_client();
    EXPECT_EQ(read_all(rig.server()).error, ECONNRESET);
    EXPECT_TRUE(rig.report().failure);
  }
}

TEST_F(Chains, a_stalled_reader_stops_the_sender_and_nothing_is_lost) {
  ChainRig rig({add("passthrough"), add("passthrough"), add("passthrough")}, {});
  ASSERT_FALSE(rig.refusal());
  const timeval patience{1, 0};  // the sender counts as stopped when a second brings no room
  ::setsockopt(rig.client(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  std::size_t accepted = 0;
  const auto block = noise(64 * 1024, 7);
  for (;;) {
    const auto put = ::send(rig.client(), block.data(), block.size(), MSG_NOSIGNAL);
    if (put < 0) break;
    accepted += static_cast<std::size_t>(put);
    ASSERT_LT(accepted, 64u << 20) << "the chain buffers without bound";
  }
  end_writing(rig.client());
  end_writing(rig.server());
  const auto got = read_all(rig.server());
  EXPECT_EQ(got.error, 0);
  EXPECT_EQ(got.bytes.size(), accepted);
  EXPECT_FALSE(rig.report().failure);
}

// kill -9 of any BF in the middle of a transfer: an error at both ends, never an orderly end.
TEST_F(Chains, a_dying_function_is_an_error_at_both_ends) {
  for (const bool trusted : {false, true})
    for (std::size_t victim = 0; victim < 3; ++victim) {
      processes_.clear();
      ChainRig rig({add("passthrough", {}, trusted), add("audit", {}, trusted), add("passthrough", {}, trusted)}, {});
      ASSERT_FALSE(rig.refusal());
      auto sending = std::async(std::launch::async, [&] {
        const auto block = noise(64 * 1024, 8);
        while (write_all(rig.client(), block)) {
        }
        return errno;  // of the write that broke
      });
      ASSERT_EQ(read_exactly(rig.server(), 1'000'000).size(), 1'000'000u);
      process(victim).kill();
      EXPECT_EQ(read_all(rig.server()).error, ECONNRESET) << "victim " << victim << " trusted " << trusted;
      EXPECT_EQ(sending.get(), ECONNRESET);
      const auto report = rig.report();
      ASSERT_TRUE(report.failure);
    }
}

TEST_F(Chains, a_function_that_dies_idle_cuts_its_flows_and_says_so) {
  ChainRig rig({add("passthrough"), add("passthrough")}, {});
  ASSERT_TRUE(write_all(rig.client(), "x"));
  EXPECT_EQ(read_exactly(rig.server(), 1), "x");
  process(1).kill();
  EXPECT_EQ(read_all(rig.server()).error, ECONNRESET);
  EXPECT_EQ(read_all(rig.client()).error, ECONNRESET);
  const auto report = rig.report();
  ASSERT_TRUE(report.failure);
  EXPECT_EQ(report.failure->code, Code::bf_failed) << report.failure->text();
  EXPECT_NE(report.failure->text().find("passthrough1"), std::string::npos) << report.failure->text();
}

TEST_F(Chains, a_cut_is_an_error_at_both_ends_at_once) {
  for (const bool trusted : {false, true}) {
    ChainRig rig({add("passthrough", {}, trusted)}, {});
    ASSERT_TRUE(write_all(rig.client(), "x"));
    EXPECT_EQ(read_exactly(rig.server(), 1), "x");
    const auto begin = net::Clock::now();
    rig.cut({Code::revoked, "consent was withdrawn"});
    EXPECT_EQ(read_all(rig.server()).error, ECONNRESET);
    EXPECT_EQ(read_all(rig.client()).error, ECONNRESET);
    EXPECT_LT(net::Clock::now() - begin, std::chrono::milliseconds(limits::cut_deadline_ms));
    EXPECT_EQ(rig.report().failure->code, Code::revoked);
  }
}

// The kernel forgets its counts when it resets a socket; ours must not turn into nonsense.
TEST_F(Chains, a_cut_keeps_the_counts_of_lent_sockets) {
  ChainRig rig({add("passthrough", {}, true)}, {});
  ASSERT_TRUE(write_all(rig.client(), std::string(1'000, 'u')));
  EXPECT_EQ(read_exactly(rig.server(), 1'000).size(), 1'000u);
  ASSERT_TRUE(write_all(rig.server(), std::string(500, 'd')));
  EXPECT_EQ(read_exactly(rig.client(), 500).size(), 500u);
  rig.cut({Code::revoked, "consent was withdrawn"});
  const auto report = rig.report();
  EXPECT_EQ(report.from_client, 1'000u);
  EXPECT_EQ(report.from_server, 500u);
}

// "413 Content Too Large" and a reset, in the middle of an upload: the client gets the answer, and then the error.
TEST_F(Chains, the_last_words_of_a_server_that_breaks_off_reach_the_client) {
  const auto answer = noise(20'000, 9);
  for (int round = 0; round < 20; ++round) {
    processes_.clear();
    auto keyed = with_key();
    ChainRig rig({add("audit"), add("encrypt"), add("decrypt"), add("passthrough")}, std::move(keyed));
    ASSERT_FALSE(rig.refusal());
    auto sending = std::async(std::launch::async, [&] {
      const auto block = noise(64 * 1024, 8);
      while (write_all(rig.client(), block)) {
      }
    });
    ASSERT_EQ(read_exactly(rig.server(), 100'000).size(), 100'000u);
    ASSERT_TRUE(write_all(rig.server(), answer));
    rig.reset_server();
    // The uploading thread and this one share the socket's one error: either may meet it.
    const auto got = read_all(rig.client());
    EXPECT_TRUE(got.bytes == answer) << got.bytes.size() << " of " << answer.size() << " in round " << round;
    sending.get();
    const auto report = rig.report();
    ASSERT_TRUE(report.failure);
    EXPECT_EQ(report.failure->code, Code::reset) << report.failure->text();
  }
}

// Without an upload under way the error itself is the reader's.
TEST_F(Chains, an_answer_before_a_reset_is_never_a_complete_one) {
  for (const bool trusted : {false, true}) {
    ChainRig rig({add("passthrough", {}, trusted), add("passthrough")}, {});
    ASSERT_TRUE(write_all(rig.server(), "half of an"));
    EXPECT_EQ(read_exactly(rig.client(), 10), "half of an");
    rig.reset_server();
    EXPECT_EQ(read_all(rig.client()).error, ECONNRESET) << "trusted " << trusted;
    EXPECT_TRUE(rig.report().failure);
  }
}

TEST_F(Chains, a_denial_names_function_and_reason_and_nothing_goes_on) {
  ChainRig rig({add("passthrough"), add("firewall", {{"allow", "10.9.9.9"}})}, {});
  const auto refusal = rig.refusal();
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, Code::bf_denied);
  EXPECT_NE(refusal->text().find("firewall1"), std::string::npos) << refusal->text();
  EXPECT_NE(refusal->text().find("allow-list"), std::string::npos) << refusal->text();
}

TEST_F(Chains, the_wrong_protocol_is_cut_before_its_bytes_pass) {
  ChainRig rig({add("firewall", {{"protocol", "dicom"}})}, {});
  ASSERT_TRUE(write_all(rig.client(), "GET / HTTP/1.1\r\n\r\n"));
  const auto got = read_all(rig.server());
  EXPECT_EQ(got.bytes, "");
  EXPECT_EQ(got.error, ECONNRESET);
  const auto report = rig.report();
  ASSERT_TRUE(report.failure);
  EXPECT_EQ(report.failure->code, Code::bf_cut);
  EXPECT_NE(report.failure->text().find("dicom"), std::string::npos) << report.failure->text();
}

TEST_F(Chains, the_direction_without_data_has_a_limit) {
  for (const bool trusted : {false, true}) {
    ChainRig::Options options;
    options.limits.from_server_bytes = 100'000;
    ChainRig rig({add("passthrough", {}, trusted)}, std::move(options));
    ASSERT_FALSE(rig.refusal());
    auto sending = std::async(std::launch::async, [&] { return write_all(rig.server(), noise(4'000'000, 9)); });
    EXPECT_EQ(read_all(rig.client()).error, ECONNRESET);
    static_cast<void>(sending.get());
    EXPECT_EQ(rig.report().failure->code, Code::limit);
  }
}

TEST_F(Chains, a_pair_with_different_keys_passes_nothing) {
  auto decrypt = add("decrypt");
  decrypt.key_pair = "other";
  auto options = with_key();
  options.keys["other"] = hpke::Secret(Bytes(32, 0x22));
  ChainRig rig({add("encrypt"), decrypt}, std::move(options));
  ASSERT_TRUE(write_all(rig.client(), "a patient's name"));
  const auto got = read_all(rig.server());
  EXPECT_EQ(got.bytes, "");
  EXPECT_EQ(got.error, ECONNRESET);
  EXPECT_EQ(rig.report().failure->code, Code::bf_cut);
}

TEST_F(Chains, an_absent_function_or_a_stranger_behind_its_socket_is_refused) {
  auto absent = add("passthrough");
  process(0).kill();
  EXPECT_EQ(ChainRig({absent}, {}).refusal()->code, Code::bf_failed);
  auto stranger = add("passthrough");
  stranger.peer_pid += 1;
  const auto refusal = ChainRig({stranger}, {}).refusal();
  EXPECT_EQ(refusal->code, Code::bf_failed);
  EXPECT_NE(refusal->text().find("another process"), std::string::npos) << refusal->text();
}

}  // namespace
}  // namespace epif::functions
