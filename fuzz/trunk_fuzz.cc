// What a peer sends on a trunk: no crash, an end when the connection ends, and the same streams, bytes and errors for every split.
// The first byte picks the side that is tried and whether a stream moves; the second where the bytes are cut in two: so many from
// their begin, and at such a part of a longer input.
#include <sys/socket.h>

#include <cassert>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "net/stream.h"
#include "net/trunk.h"

using namespace epif;

namespace {

enum class Side : std::uint8_t { accepts, opens, moves };

constexpr std::size_t at_once = 4096;
constexpr std::size_t input_max_bytes = 64 * 1024;  ///< what the trunk says to that fits into a socket that nobody reads

/// One trunk, its peer played by the input.
class Played {
 public:
  explicit Played(Side side) {
    auto ends = net::stream_pair().value();
    peer_ = std::move(ends.second);
    net::Trunk::Settings settings;
    if (side == Side::accepts) {
      settings.accept = [this](std::unique_ptr<net::Stream> stream) { streams_.push_back(std::move(stream)); };
    } else {
      settings.bulk = [](std::uint32_t) {};
    }
    trunk_ = net::Trunk::make(std::make_unique<net::SocketStream>(*loop_, std::move(ends.first)), std::move(settings));
    net::spawn(carry(trunk_, end_));
    if (side == Side::accepts) return;
    for (const auto* word : {"first", "second"}) {
      streams_.push_back(trunk_->open());
      static_cast<void>(streams_.back()->write_some(as_bytes(word)));
    }
  }
  ~Played() {
    trunk_->abort({Code::internal, "the input is over"});
    turn([this] { return end_.has_value(); });
    streams_.clear();
    turn([] { return false; });
  }

  void hear(ByteSpan bytes) {
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), at_once))) {
      // The trunk may have ended it already.
      static_cast<void>(::send(peer_.get(), bytes.data(), std::min(bytes.size(), at_once), MSG_NOSIGNAL | MSG_DONTWAIT));
      turn([] { return false; });
    }
  }
  void move_first() {
    auto ends = net::stream_pair().value();
    static_cast<void>(trunk_->continue_on(1, std::make_unique<net::SocketStream>(*loop_, std::move(ends.first))));
    other_ = std::move(ends.second);
  }
  void finish() {
    ::shutdown(peer_.get(), SHUT_WR);
    turn([this] { return end_.has_value(); });
    if (!end_) std::abort();  // it hangs on a connection that has ended
  }
  /// How the trunk ended, and what each stream gives.
  [[nodiscard]] std::string outcome() {
    std::string told(end_->has_value() ? std::string_view("ended") : name(end_->error().code));
    for (const auto& stream : streams_) {
      told += '|';
      std::array<std::uint8_t, 4096> buffer{};
      auto io = stream->read_some(buffer);
      for (; io.state == net::Io::State::moved; io = stream->read_some(buffer)) told += as_text(ByteSpan(buffer).first(io.bytes));
      told += static_cast<char>('0' + static_cast<int>(io.state));
    }
    return told;
  }

 private:
  static net::Task<void> carry(std::shared_ptr<net::Trunk> trunk, std::optional<Result<>>& end) {
    auto outcome = co_await trunk->run({});
    end = std::move(outcome);
  }
  template <class Condition>
  void turn(Condition over) {
    for (int round = 0; round < 8 && !over(); ++round) loop_->run_once(std::chrono::milliseconds(0));
  }

  std::unique_ptr<net::Loop> loop_ = net::Loop::make().value();
  Fd peer_;
  Fd other_;
  std::optional<Result<>> end_;
  std::vector<std::unique_ptr<net::Stream>> streams_;
  std::shared_ptr<net::Trunk> trunk_;
};

std::string play(Side side, ByteSpan bytes, std::size_t cut) {
  Played played(side);
  played.hear(bytes.first(cut));
  if (side == Side::moves) played.move_first();
  if (cut < bytes.size()) played.hear(bytes.subspan(cut));
  played.finish();
  return played.outcome();
}

void check_header(ByteSpan bytes) {
  if (bytes.size() < net::trunk_header_bytes) return;
  const auto frame = net::decode_trunk_frame(bytes);
  if (!frame) return;
  const auto again = net::encode_trunk_frame(*frame);
  if (!std::equal(again.begin(), again.end(), bytes.begin())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > input_max_bytes) return 0;
  const auto side = static_cast<Side>(data[0] % 3);
  const ByteSpan bytes(data + 2, size - 2);
  check_header(bytes);
  const auto parts = play(side, bytes, std::min<std::size_t>(data[1], bytes.size()));
  if (side == Side::moves) return 0;
  const auto whole = play(side, bytes, bytes.size());
  if (parts != whole) std::abort();
  if (bytes.size() > 255 && play(side, bytes, bytes.size() * data[1] / 256) != whole) std::abort();
  return 0;
}
