// mqtt_load: many small publishes on long connections, and how long they take to a subscriber.
//
//   mqtt_load ADDR:PORT CONNECTIONS BYTES SUBSCRIBER-NETNS SUBSCRIBER-ADDR:PORT
//
// Connects, prints {"ready": true}, then obeys lines of its input, each answered by one line of JSON:
//   paced MESSAGES-PER-SECOND SECONDS     the same load for everybody
//   window MESSAGES SECONDS               as fast as PUBACKs come, so many under way on each connection
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "base/error.h"
#include "load.h"

namespace epif::bench {
namespace {

int refuse(const Error& error) {
  fmt::print(stderr, "mqtt_load: {}\n", error.text());
  return 1;
}

bool split(const std::string& text, std::string& address, std::uint16_t& port) {
  const auto colon = text.rfind(':');
  if (colon == text.npos) return false;
  address = text.substr(0, colon);
  const auto [end, failure] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  return failure == std::errc{} && end == text.data() + text.size() && port != 0;
}

int run(const std::vector<std::string>& words) {
  Wish wish;
  if (words.size() != 5 || !split(words[0], wish.address, wish.port) ||
      !split(words[4], wish.subscriber_address, wish.subscriber_port)) {
    fmt::print(stderr, "usage: mqtt_load ADDR:PORT CONNECTIONS BYTES SUBSCRIBER-NETNS SUBSCRIBER-ADDR:PORT\n");
    return 2;
  }
  wish.connections = static_cast<unsigned>(std::strtoul(words[1].c_str(), nullptr, 10));
  wish.payload_bytes = std::strtoul(words[2].c_str(), nullptr, 10);
  wish.subscriber_netns = words[3];
  if (wish.connections == 0 || wish.payload_bytes < 8) {
    fmt::print(stderr, "mqtt_load: at least one connection, and 8 bytes a message\n");
    return 2;
  }
  auto load = Load::open(wish);
  if (!load) return refuse(load.error());
  fmt::print("{{\"ready\": true}}\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::string what;
    double much = 0, seconds = 0;
    if (!(in >> what >> much >> seconds) || much < 1 || seconds <= 0 || (what != "paced" && what != "window")) {
      return refuse({Code::usage, "expected paced or window, with two numbers", line});
    }
    const auto made = what == "paced" ? load->paced(much, seconds) : load->window(static_cast<unsigned>(much), seconds);
    if (!made) return refuse(made.error());
    fmt::print(
        "{{\"sent\": {}, \"delivered\": {}, \"seconds\": {:.6f}, \"p50_ms\": {:.4f}, \"p95_ms\": {:.4f}, \"p99_ms\": "
        "{:.4f}, "
        "\"max_ms\": {:.4f}}}\n",
        made->sent, made->delivered, made->seconds, made->p50_ms, made->p95_ms, made->p99_ms, made->max_ms);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace epif::bench

int main(int argc, char** argv) {
  return epif::bench::run({argv + 1, argv + argc});
}
