#include "functions/sealed_frames.h"

#include <gtest/gtest.h>

#include <random>

namespace epif::functions {
namespace {

using bridge::Direction;

const Bytes key(32, 0x42);

Bytes sealed(const Bytes& plain, Suite suite = Suite::aes_256_gcm, Direction direction = Direction::to_server) {
  Sealer sealer(suite, key, direction);
  Bytes out;
  EXPECT_TRUE(sealer.seal(plain, out));
  EXPECT_TRUE(sealer.finish(out));
  return out;
}

Bytes noise(std::size_t size) {
  std::mt19937 random(7);
  Bytes out(size);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(random());
  return out;
}

// The whole of a sealed stream: where its frames begin, after the header.
std::vector<std::size_t> frames_of(const Bytes& stream) {
  std::vector<std::size_t> at;
  for (std::size_t i = seal_header_bytes; i < stream.size(); i += frame_header_bytes + (load_u32(&stream[i]) & 0xFFFFFF)) at.push_back(i);
  return at;
}

Result<Bytes> opened(const Bytes& stream, const Bytes& with = key, Suite suite = Suite::aes_256_gcm,
                     Direction direction = Direction::to_server) {
  Opener opener(suite, with, direction);
  Bytes out;
  if (auto done = opener.open(stream, out); !done) return fail(done.error());
  if (auto done = opener.finish(); !done) return fail(done.error());
  return out;
}

TEST(SealedFrames, any_split_gives_the_same_bytes) {
  const auto plain = noise(3 * frame_plain_max_bytes + 17);
  for (const auto suite : {Suite::aes_256_gcm, Suite::chacha20_poly1305}) {
    const auto stream = sealed(plain, suite);
    for (const std::size_t step : {1ul, 3ul, 7ul, 4096ul, stream.size()}) {
      Opener opener(suite, key, Direction::to_server);
      Bytes out;
      for (std::size_t at = 0; at < stream.size(); at += step)
        ASSERT_TRUE(opener.open(ByteSpan(stream).subspan(at, std::min(step, stream.size() - at)), out));
      EXPECT_TRUE(opener.finish());
      EXPECT_EQ(out, plain);
    }
  }
}

TEST(SealedFrames, an_empty_stream_still_has_a_proper_end) { EXPECT_EQ(opened(sealed({})), Bytes{}); }

TEST(SealedFrames, truncation_is_detected_at_every_byte) {
  const auto stream = sealed(noise(100));
  for (std::size_t length = 0; length < stream.size(); ++length) {
    const auto result = opened(Bytes(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(length)));
    ASSERT_FALSE(result) << length;
    EXPECT_EQ(result.error().code, Code::truncated);
  }
}

TEST(SealedFrames, a_changed_bit_anywhere_is_detected) {
  const auto stream = sealed(noise(64));
  for (std::size_t at = 0; at < stream.size(); ++at) {
    auto changed = stream;
    changed[at] ^= 0x10;
    EXPECT_FALSE(opened(changed)) << at;
  }
}

TEST(SealedFrames, reordered_doubled_and_missing_frames_are_detected) {
  const auto stream = sealed(noise(2 * frame_plain_max_bytes));
  const auto at = frames_of(stream);
  ASSERT_EQ(at.size(), 3u);
  const auto cut = [&](std::size_t from, std::size_t to) {
    return Bytes(stream.begin() + static_cast<std::ptrdiff_t>(from), stream.begin() + static_cast<std::ptrdiff_t>(to));
  };
  const auto join = [](std::initializer_list<Bytes> parts) {
    Bytes out;
    for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
  };
  const auto header = cut(0, at[0]), first = cut(at[0], at[1]), second = cut(at[1], at[2]), last = cut(at[2], stream.size());
  ASSERT_TRUE(opened(join({header, first, second, last})));
  for (const auto& wrong : {join({header, second, first, last}), join({header, first, first, second, last}),
                            join({header, second, last}), join({header, first, last}), join({header, first, second, last, last})}) {
    const auto result = opened(wrong);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::protocol);
  }
}

TEST(SealedFrames, another_key_direction_or_cipher_opens_nothing) {
  const auto stream = sealed(noise(10));
  EXPECT_FALSE(opened(stream, Bytes(32, 0x43)));
  EXPECT_FALSE(opened(stream, key, Suite::aes_256_gcm, Direction::to_client));
  EXPECT_FALSE(opened(stream, key, Suite::chacha20_poly1305));
  EXPECT_FALSE(opened(noise(200)));
}

TEST(SealedFrames, plain_text_does_not_shine_through) {
  const std::string name = "DOE^JANE";
  Bytes plain;
  for (int i = 0; i < 100; ++i) plain.insert(plain.end(), name.begin(), name.end());
  const auto stream = sealed(plain);
  EXPECT_EQ(as_text(stream).find(name), std::string_view::npos);
  EXPECT_NE(as_text(plain).find(name), std::string_view::npos);
}

}  // namespace
}  // namespace epif::functions
