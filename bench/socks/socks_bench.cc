// The codecs' promise: 5,000,000 SOCKS6 requests parsed a second and core, without an allocation. Messages are the worked
// examples of the tests; `allocations` must read 0.
#include <benchmark/benchmark.h>

#include "allocations.h"
#include "socks/socks4.h"
#include "socks/socks5.h"
#include "socks/socks6.h"
#include "socks/socksx.h"

namespace epif {
namespace {

template <class Message>
void parse(benchmark::State& state, socks::Decoded<Message> (*decode)(ByteSpan), std::string_view hex) {
  const auto bytes = from_hex(hex);
  const auto before = allocations();
  for ([[maybe_unused]] auto _ : state) {
    auto decoded = decode(bytes);
    if (socks::done(decoded) == nullptr) state.SkipWithError("the request was not read");
    benchmark::DoNotOptimize(decoded);
  }
  state.counters["allocations"] = static_cast<double>(allocations() - before);
  state.SetItemsProcessed(state.iterations());
}

void socks6_address(benchmark::State& state) { parse(state, socks6::decode_request, "0601000000500001c0000201"); }
void socks6_name(benchmark::State& state) {
  parse(state, socks6::decode_request, "0601000001bb00030b6c6f63616c686f73740000");
}
void socks6_password_and_initial_data(benchmark::State& state) {
  parse(state, socks6::decode_request, "0601001800500001c0000201000200080005020000040010020104757365720470617373");
}
void socks6_session_token_and_stack(benchmark::State& state) {
  parse(state, socks6::decode_request,
        "0601002c00500001c00002010006000c1122334455667788000d00080102030400010008c101b80000010008840104b00001000884020200");
}
void socks5_request(benchmark::State& state) { parse(state, socks5::decode_request, "05010003096c6f63616c686f737401bb"); }
void socks4a_request(benchmark::State& state) { parse(state, socks4::decode_request, "040101bb00000001006c6f63616c686f737400"); }
void socksx_request(benchmark::State& state) { parse(state, socksx::decode_request, "060101c0a8010100500000080002000800000000"); }

BENCHMARK(socks6_address);
BENCHMARK(socks6_name);
BENCHMARK(socks6_password_and_initial_data);
BENCHMARK(socks6_session_token_and_stack);
BENCHMARK(socks5_request);
BENCHMARK(socks4a_request);
BENCHMARK(socksx_request);

}  // namespace
}  // namespace epif

BENCHMARK_MAIN();
