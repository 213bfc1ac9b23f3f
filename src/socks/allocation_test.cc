// The codec asks for no memory: every handshake of a proxy passes it, and hostile ones shall cost no more than their bytes.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "socks/socks6.h"
#include "socks/socksx.h"

namespace {
std::atomic<std::uint64_t> asked{0};
}

// Of the whole test program. Not inlined: next to malloc() GCC takes them for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
  asked.fetch_add(1, std::memory_order_relaxed);
  if (void* made = std::malloc(size)) return made;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  asked.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace epif::socks6 {
namespace {

constexpr int times = 100'000;

/// What our redirectors and proxies send, all options at once.
Request full_request() {
  Request request;
  request.target = socks::Target{std::string_view("pacs.research.example"), 4242};
  auto& options = request.options;
  options.advertisement.emplace().initial_data_bytes = 512;
  options.credentials = Credentials{"ann", "secret"};
  options.trunk = TrunkOption{};
  auto& flow = options.flow.emplace();
  flow.flow = "imaging/send-1";
  flow.encapsulations.push_back({"umc-research", {}});
  options.stack.add(FastOpen{});
  options.stack.add(Multipath{true});
  options.stack.add(Tos{Leg::both, 0xb8});
  options.session_request = true;
  options.idempotence_request = 64;
  return request;
}

TEST(Allocation, ReadingAHundredThousandRequestsWithAllOptionsAsksForNoMemory) {
  const auto request = full_request();
  std::array<std::uint8_t, max_sent_bytes> bytes{};
  const auto size = encode_request(request, bytes);
  ASSERT_GT(size, 0u);
  const auto whole = ByteSpan(bytes).first(size);
  const auto once = decode_request(whole);
  ASSERT_NE(socks::done(once), nullptr);
  const auto& options = socks::done(once)->message.options;
  ASSERT_TRUE(options.flow == request.options.flow && options.trunk == request.options.trunk && options.stack == request.options.stack);
  ASSERT_TRUE(options.credentials && options.advertisement && options.session_request && options.idempotence_request);
  const auto before = asked.load();
  int read = 0, waiting = 0;
  for (int i = 0; i < times; ++i) {
    waiting += std::holds_alternative<socks::NeedMore>(decode_request(whole.first(static_cast<std::size_t>(i) % size)));
    read += socks::done(decode_request(whole)) != nullptr;
  }
  const auto after = asked.load();
  EXPECT_EQ(after - before, 0u);
  EXPECT_EQ(read, times);
  EXPECT_EQ(waiting, times) << "prefixes";
}

TEST(Allocation, WritingThemAndTheirRepliesAsksForNoneEither) {
  const auto request = full_request();
  OperationReply reply;
  reply.bound = socks::Target{IpAddress::parse("10.2.0.10").value(), 4242};
  std::array<std::uint8_t, max_sent_bytes> bytes{};
  const auto before = asked.load();
  int read = 0;
  std::size_t written = 0;
  for (int i = 0; i < times; ++i) {
    written += encode_request(request, bytes);
    const auto size = encode_operation_reply(reply, bytes);
    read += socks::done(decode_operation_reply(ByteSpan(bytes).first(size))) != nullptr;
  }
  const auto after = asked.load();
  EXPECT_EQ(after - before, 0u);
  EXPECT_EQ(read, times);
  EXPECT_GT(written, 0u);
}

TEST(Allocation, TheCountSeesWhatAsks) {
  const auto before = asked.load();
  const std::string word(100, 'x');
  EXPECT_GT(asked.load() - before, 0u) << word.size();
}

}  // namespace
}  // namespace epif::socks6
