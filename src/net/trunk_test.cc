#include "net/trunk.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>
#include <random>

namespace epif::net {
namespace {

using std::chrono::milliseconds;

/// Two ends of one trunk over a socket pair. Everything the far end accepts waits in `accepted`.
struct Pair {
  std::unique_ptr<Loop> loop = Loop::make().value();
  std::shared_ptr<Trunk> near;
  std::shared_ptr<Trunk> far;
  std::deque<std::unique_ptr<Stream>> accepted;
  std::optional<Result<>> near_end;
  std::optional<Result<>> far_end;
  std::vector<std::uint32_t> bulk;

  explicit Pair(milliseconds idle = std::chrono::hours(1)) {
    auto ends = stream_pair().value();
    Trunk::Settings opening;
    opening.idle = idle;
    opening.bulk = [this](std::uint32_t stream) { bulk.push_back(stream); };
    near = Trunk::make(std::make_unique<SocketStream>(*loop, std::move(ends.first)), std::move(opening));
    Trunk::Settings accepting;
    accepting.accept = [this](std::unique_ptr<Stream> stream) { accepted.push_back(std::move(stream)); };
    far = Trunk::make(std::make_unique<SocketStream>(*loop, std::move(ends.second)), std::move(accepting));
    spawn(note(near, near_end));
    spawn(note(far, far_end));
  }
  ~Pair() {
    near->abort({Code::internal, "the test is over"});
    accepted.clear();
    until([&] { return near_end && far_end; });
  }
  static Task<void> note(std::shared_ptr<Trunk> trunk, std::optional<Result<>>& into) {
    auto ended = co_await trunk->run({});
    into = std::move(ended);
  }
  void until(const std::function<bool()>& condition) {
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      ASSERT_LT(Clock::now(), deadline) << "the condition did not come true";
      loop->run_once(milliseconds(50));
    }
  }
  /// A new stream and its far end, with `word` sent.
  std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> opened(std::string_view word = "hello") {
    auto out = near->open();
    EXPECT_TRUE(out);
    EXPECT_EQ(out->write_some(as_bytes(word)).bytes, word.size());
    until([&] { return !accepted.empty(); });
    auto in = std::move(accepted.front());
    accepted.pop_front();
    EXPECT_EQ(text(*in, word.size()), word);
    return {std::move(out), std::move(in)};
  }
  std::string text(Stream& from, std::size_t bytes) {
    std::string got;
    until([&] {
      std::array<std::uint8_t, 5000> buffer;
      const Io io = from.read_some(MutableByteSpan(buffer).first(std::min(buffer.size(), bytes - got.size())));
      if (io.state == Io::State::moved) got += as_text(ByteSpan(buffer).first(io.bytes));
      return got.size() == bytes || io.state == Io::State::end || io.state == Io::State::failed;
    });
    return got;
  }
  Io::State state(Stream& from) {
    Io::State state = Io::State::would_block;
    until([&] {
      std::array<std::uint8_t, 1> buffer;
      state = from.read_some(buffer).state;
      return state != Io::State::would_block;
    });
    return state;
  }
};

Bytes noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes made(size);
  for (auto& byte : made) byte = static_cast<std::uint8_t>(random());
  return made;
}

TEST(Trunk, streams_carry_both_ways_and_each_end_is_passed_on_alone) {
  Pair pair;
  auto [out, in] = pair.opened();
  EXPECT_EQ(in->write_some(as_bytes("answer"), false).bytes, 6u);
  EXPECT_EQ(out->end_write().state, Io::State::moved);
  EXPECT_EQ(pair.text(*out, 6), "answer");
  EXPECT_EQ(pair.state(*in), Io::State::end);
  EXPECT_EQ(in->write_some(as_bytes("after the end")).bytes, 13u);
  EXPECT_EQ(in->end_write().state, Io::State::moved);
  EXPECT_EQ(pair.text(*out, 13), "after the end");
  EXPECT_EQ(pair.state(*out), Io::State::end);
  out.reset();
  in.reset();
  EXPECT_EQ(pair.near->streams(), 0u);
  EXPECT_EQ(pair.far->streams(), 0u);
}

TEST(Trunk, a_stream_that_is_cut_or_dropped_is_an_error_at_its_peer_alone_behind_what_was_sent) {
  Pair pair;
  auto [out, in] = pair.opened();
  auto [other_out, other_in] = pair.opened("other");
  ASSERT_EQ(out->write_some(as_bytes("last")).bytes, 4u);
  out->abort({Code::revoked, "cut"});
  EXPECT_EQ(pair.text(*in, 4), "last");
  EXPECT_EQ(pair.state(*in), Io::State::failed);
  ASSERT_EQ(other_in->write_some(as_bytes("word")).bytes, 4u);
  EXPECT_EQ(pair.text(*other_out, 4), "word");
  ASSERT_EQ(other_in->end_write().state, Io::State::moved);
  other_in.reset();  // the other direction has not ended: no orderly end
  pair.until([&] { return other_out->has_failed(); });
}

TEST(Trunk, a_reader_that_stops_holds_its_own_stream_alone_within_the_window) {
  Pair pair;
  auto [out, in] = pair.opened();
  auto [other_out, other_in] = pair.opened("other");
  const auto data = noise(limits::trunk_window_bytes * 3, 1);
  std::size_t sent = 0;
  const auto push = [&] {
    for (;;) {
      const Io io = out->write_some(ByteSpan(data).subspan(sent));
      if (io.state != Io::State::moved) return;
      sent += io.bytes;
    }
  };
  push();
  pair.until([&] {
    push();
    return sent + 5 == limits::trunk_window_bytes;
  });
  ASSERT_EQ(other_out->write_some(as_bytes("goes on")).bytes, 7u);
  EXPECT_EQ(pair.text(*other_in, 7), "goes on");
  EXPECT_LE(sent, limits::trunk_window_bytes);
  Bytes got;
  pair.until([&] {
    push();
    std::array<std::uint8_t, 7777> buffer;
    for (Io io = in->read_some(buffer); io.state == Io::State::moved; io = in->read_some(buffer)) {
      got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(io.bytes));
    }
    return got.size() >= data.size();
  });
  EXPECT_EQ(got, data);
}

TEST(Trunk, a_word_gets_its_turn_though_others_always_have_more_to_send) {
  Pair pair;
  const auto data = noise(limits::trunk_window_bytes, 6);
  std::vector<std::unique_ptr<Stream>> greedy;
  auto word = pair.near->open();
  ASSERT_EQ(word->write_some(as_bytes("a")).bytes, 1u);
  for (int i = 0; i < 40; ++i) greedy.push_back(pair.near->open());
  const auto push = [&] {
    for (auto& one : greedy) {
      while (one->write_some(data).state == Io::State::moved) {
      }
    }
  };
  push();
  ASSERT_EQ(word->write_some(as_bytes("word")).state, Io::State::would_block);
  std::vector<std::uint8_t> buffer(limits::trunk_window_bytes);
  std::size_t got = 0;
  bool written = false;
  pair.until([&] {
    push();  // first, always
    if (!written) written = word->write_some(as_bytes("word")).state == Io::State::moved;
    for (auto& one : pair.accepted) {
      for (Io io = one->read_some(buffer); io.state == Io::State::moved; io = one->read_some(buffer)) got += io.bytes;
    }
    return written;
  });
  EXPECT_LT(got, 4 * limits::trunk_window_bytes * greedy.size());
}

TEST(Trunk, hundreds_of_streams_at_once_keep_their_bytes_apart) {
  Pair pair;
  std::vector<std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>>> streams;
  for (int i = 0; i < 300; ++i) streams.push_back(pair.opened("stream " + std::to_string(i)));
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const auto word = "word " + std::to_string(i * 7);
    ASSERT_EQ(streams[i].second->write_some(as_bytes(word)).bytes, word.size());
  }
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const auto word = "word " + std::to_string(i * 7);
    EXPECT_EQ(pair.text(*streams[i].first, word.size()), word);
  }
}

TEST(Trunk, when_the_carrier_breaks_all_streams_fail) {
  Pair pair;
  auto [out, in] = pair.opened();
  pair.far->abort({Code::reset, "gone"});
  EXPECT_EQ(pair.state(*out), Io::State::failed);
  EXPECT_EQ(pair.state(*in), Io::State::failed);
  EXPECT_FALSE(pair.near->open());
}

TEST(Trunk, draining_serves_what_is_there_and_opens_nothing_new) {
  Pair pair;
  auto [out, in] = pair.opened();
  pair.far->drain();
  pair.until([&] { return !pair.near->takes_streams(); });
  EXPECT_FALSE(pair.near->open());
  ASSERT_EQ(out->write_some(as_bytes("still")).bytes, 5u);
  EXPECT_EQ(pair.text(*in, 5), "still");
  ASSERT_EQ(out->end_write().state, Io::State::moved);
  ASSERT_EQ(in->end_write().state, Io::State::moved);
  EXPECT_EQ(pair.state(*in), Io::State::end);
  EXPECT_EQ(pair.state(*out), Io::State::end);
  out.reset();
  in.reset();
  pair.until([&] { return pair.near_end && pair.far_end; });
  EXPECT_TRUE(*pair.near_end);
  EXPECT_TRUE(*pair.far_end);
}

TEST(Trunk, without_a_stream_it_ends_after_its_time) {
  Pair pair(milliseconds(20));
  pair.until([&] { return pair.near_end && pair.far_end; });
  EXPECT_TRUE(*pair.near_end);
}

TEST(Trunk, what_was_sent_before_its_end_is_still_read) {
  Pair pair;
  auto [out, in] = pair.opened();
  const auto data = noise(50'000, 2);
  ASSERT_EQ(out->write_some(data).bytes + out->write_some(ByteSpan(data).subspan(limits::trunk_frame_bytes)).bytes, data.size());
  ASSERT_EQ(out->end_write().state, Io::State::moved);
  ASSERT_EQ(in->end_write().state, Io::State::moved);
  EXPECT_EQ(pair.state(*out), Io::State::end);
  out.reset();
  pair.near->drain();
  pair.until([&] { return pair.far_end.has_value(); });
  EXPECT_EQ(pair.text(*in, data.size()), std::string(as_text(data)));
  EXPECT_EQ(pair.state(*in), Io::State::end);
}

TEST(Trunk, bulk_moves_to_its_own_connection_and_no_byte_is_lost_or_turned_round) {
  for (const unsigned seed : {3u, 33u}) {
    Pair pair;
    auto [out, in] = pair.opened();
    const auto up = noise(3'000'000, seed);
    const auto down = noise(2'000'000, seed + 1);
    std::size_t sent_up = 0;
    std::size_t sent_down = 0;
    Bytes got_up;
    Bytes got_down;
    bool moved = false;
    const auto step = [](Stream& from, Stream& to, const Bytes& data, std::size_t& sent, Bytes& got) {
      for (;;) {
        if (sent == data.size()) break;
        const Io io = from.write_some(ByteSpan(data).subspan(sent));
        if (io.state != Io::State::moved) break;
        sent += io.bytes;
        if (sent == data.size()) static_cast<void>(from.end_write());
      }
      std::array<std::uint8_t, 16'000> buffer;
      for (Io io = to.read_some(buffer); io.state == Io::State::moved; io = to.read_some(buffer)) {
        got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(io.bytes));
      }
    };
    pair.until([&] {
      step(*out, *in, up, sent_up, got_up);
      step(*in, *out, down, sent_down, got_down);
      if (!pair.bulk.empty() && !std::exchange(moved, true)) {
        auto ends = stream_pair().value();
        EXPECT_TRUE(pair.near->continue_on(pair.bulk.front(), std::make_unique<SocketStream>(*pair.loop, std::move(ends.first))));
        EXPECT_TRUE(pair.far->continue_on(pair.bulk.front(), std::make_unique<SocketStream>(*pair.loop, std::move(ends.second))));
      }
      return got_up.size() >= up.size() && got_down.size() >= down.size();
    });
    EXPECT_TRUE(moved);
    EXPECT_EQ(pair.bulk.size(), 1u);
    EXPECT_EQ(got_up, up);
    EXPECT_EQ(got_down, down);
    EXPECT_EQ(pair.state(*in), Io::State::end);
    EXPECT_EQ(pair.state(*out), Io::State::end);
  }
}

TEST(Trunk, what_its_own_connection_brought_too_soon_is_read_behind_what_came_by_the_trunk) {
  Pair pair;
  auto [out, in] = pair.opened();
  auto ends = stream_pair().value();
  const std::string_view early = "early ";
  ASSERT_EQ(in->write_some(as_bytes("trunk ")).bytes, 6u);
  ASSERT_TRUE(pair.near->continue_on(1, std::make_unique<SocketStream>(*pair.loop, std::move(ends.first)), Bytes(early.begin(), early.end())));
  ASSERT_TRUE(pair.far->continue_on(1, std::make_unique<SocketStream>(*pair.loop, std::move(ends.second))));
  ASSERT_EQ(in->write_some(as_bytes("late")).bytes, 4u);
  EXPECT_EQ(pair.text(*out, 16), "trunk early late");
}

TEST(Trunk, streams_that_speak_in_another_order_than_they_were_opened_all_arrive) {
  Pair pair;
  auto first = pair.near->open();
  auto gone = pair.near->open();
  auto third = pair.near->open();
  gone.reset();
  ASSERT_EQ(third->write_some(as_bytes("third")).bytes, 5u);
  ASSERT_EQ(first->write_some(as_bytes("first")).bytes, 5u);
  pair.until([&] { return pair.accepted.size() == 2; });
  EXPECT_EQ(pair.text(*pair.accepted[0], 5), "first");
  EXPECT_EQ(pair.text(*pair.accepted[1], 5), "third");
}

TEST(Trunk, a_stream_that_is_opened_while_the_trunk_is_full_keeps_its_place_before_later_ones) {
  Pair pair;
  std::vector<std::unique_ptr<Stream>> fill;
  const auto data = noise(limits::trunk_window_bytes, 5);
  std::unique_ptr<Stream> late;
  while (!late) {
    auto next = pair.near->open();
    Io io = next->write_some(data);
    if (io.state == Io::State::would_block) {
      late = std::move(next);
      continue;
    }
    while (io.state == Io::State::moved) io = next->write_some(data);
    fill.push_back(std::move(next));
  }
  pair.until([&] { return pair.accepted.size() >= fill.size(); });
  auto later = pair.near->open();
  pair.until([&] { return later->write_some(as_bytes("later")).bytes == 5; });
  pair.until([&] { return late->write_some(as_bytes("late")).bytes == 4; });
  pair.until([&] { return pair.accepted.size() == fill.size() + 2; });
  EXPECT_EQ(pair.text(*pair.accepted[fill.size()], 4), "late");
  EXPECT_EQ(pair.text(*pair.accepted.back(), 5), "later");
  EXPECT_FALSE(pair.far_end);
}

TEST(Trunk, it_stays_after_its_own_end_until_the_peer_has_heard_it) {
  auto loop = Loop::make().value();
  auto ends = stream_pair().value();
  auto trunk = Trunk::make(std::make_unique<SocketStream>(*loop, std::move(ends.first)), {});
  std::optional<Result<>> ended;
  spawn(Pair::note(trunk, ended));
  trunk->drain();
  SocketStream peer(*loop, std::move(ends.second));
  std::array<std::uint8_t, 1> buffer;
  while (peer.read_some(buffer).state != Io::State::end) loop->run_once(milliseconds(20));
  ASSERT_EQ(peer.write_some(as_bytes("on its way")).bytes, 10u);
  loop->run_once(milliseconds(0));
  EXPECT_FALSE(ended);
  ASSERT_EQ(peer.end_write().state, Io::State::moved);
  for (int i = 0; i < 100 && !ended; ++i) loop->run_once(milliseconds(20));
  ASSERT_TRUE(ended);
  EXPECT_TRUE(*ended);
}

TEST(Trunk, bytes_in_its_own_connection_leave_in_order_though_the_peers_end_comes_by_the_trunk_behind_ours) {
  Pair pair;
  auto [out, in] = pair.opened();
  auto ends = stream_pair().value();
  const int own = ends.first.get();
  ASSERT_EQ(in->end_write().state, Io::State::moved);  // not at the other side yet
  ASSERT_TRUE(pair.near->continue_on(1, std::make_unique<SocketStream>(*pair.loop, std::move(ends.first))));
  ASSERT_EQ(out->end_write().state, Io::State::moved);
  EXPECT_EQ(pair.state(*out), Io::State::end);
  linger wish{1, 0};
  socklen_t size = sizeof wish;
  ASSERT_EQ(::getsockopt(own, SOL_SOCKET, SO_LINGER, &wish, &size), 0);
  EXPECT_EQ(wish.l_onoff, 0) << "its close would reset what is on its way";
}

TEST(Trunk, a_moved_stream_outlives_the_trunk_and_is_cut_by_either_side) {
  Pair pair;
  auto [out, in] = pair.opened();
  auto ends = stream_pair().value();
  ASSERT_TRUE(pair.near->continue_on(1, std::make_unique<SocketStream>(*pair.loop, std::move(ends.first))));
  ASSERT_TRUE(pair.far->continue_on(1, std::make_unique<SocketStream>(*pair.loop, std::move(ends.second))));
  ASSERT_EQ(out->write_some(as_bytes("moved")).bytes, 5u);
  EXPECT_EQ(pair.text(*in, 5), "moved");
  ASSERT_EQ(in->write_some(as_bytes("back")).bytes, 4u);
  EXPECT_EQ(pair.text(*out, 4), "back");
  pair.near->abort({Code::reset, "the trunk breaks"});
  pair.until([&] { return pair.near_end && pair.far_end; });
  ASSERT_EQ(out->write_some(as_bytes("lives")).bytes, 5u);
  EXPECT_EQ(pair.text(*in, 5), "lives");
  in->abort({Code::revoked, "cut"});
  EXPECT_NE(pair.state(*out), Io::State::moved);
}

TEST(Trunk, bytes_that_are_no_frames_end_it_with_an_error) {
  for (const auto& bytes : {Bytes{9, 0, 0, 0, 0, 0, 0, 1},                       // unknown kind
                            Bytes{0, 1, 0, 1, 0, 0, 0, 0, 65},                   // stream 0
                            Bytes{3, 0, 0, 0, 0, 0, 0, 0},                       // an opener does not drain
                            Bytes{0, 3, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0, 1}}) {  // a number twice
    auto loop = Loop::make().value();
    auto ends = stream_pair().value();
    std::vector<std::unique_ptr<Stream>> accepted;
    Trunk::Settings settings;
    settings.accept = [&](std::unique_ptr<Stream> stream) { accepted.push_back(std::move(stream)); };
    auto trunk = Trunk::make(std::make_unique<SocketStream>(*loop, std::move(ends.first)), std::move(settings));
    std::optional<Result<>> ended;
    spawn(Pair::note(trunk, ended));
    SocketStream peer(*loop, std::move(ends.second));
    ASSERT_EQ(peer.write_some(bytes).bytes, bytes.size());
    for (int i = 0; i < 100 && !ended; ++i) loop->run_once(milliseconds(20));
    ASSERT_TRUE(ended);
    ASSERT_FALSE(*ended);
    EXPECT_EQ(ended->error().code, Code::protocol);
    accepted.clear();
  }
}

TEST(Trunk, a_peer_that_sends_more_than_was_granted_loses_the_trunk) {
  auto loop = Loop::make().value();
  auto ends = stream_pair().value();
  std::unique_ptr<Stream> accepted;
  Trunk::Settings settings;
  settings.accept = [&](std::unique_ptr<Stream> stream) { accepted = std::move(stream); };
  auto trunk = Trunk::make(std::make_unique<SocketStream>(*loop, std::move(ends.first)), std::move(settings));
  std::optional<Result<>> ended;
  spawn(Pair::note(trunk, ended));
  SocketStream peer(*loop, std::move(ends.second));
  Bytes frame{0, 1, 0x80, 0, 0, 0, 0, 1};
  frame.resize(8 + 0x8000);
  for (int i = 0; i < 1000 && !ended; ++i) {
    static_cast<void>(peer.write_some(frame));  // a socket pair takes whole what it takes, or nothing
    frame[1] = 0;
    loop->run_once(milliseconds(1));
  }
  ASSERT_TRUE(ended);
  ASSERT_FALSE(*ended);
  EXPECT_EQ(ended->error().code, Code::protocol);
  EXPECT_TRUE(accepted->has_failed());
  accepted.reset();
}

}  // namespace
}  // namespace epif::net
