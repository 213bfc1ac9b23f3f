#include "agent/probe.h"

#include <charconv>

#include "api/client.h"
#include "base/limits.h"

namespace epif::agent {

Result<std::uint64_t> loaded_generation(const std::string& admin_socket) {
  api::ClientOptions options;
  options.url = "unix:" + admin_socket;
  options.deadline = std::chrono::milliseconds(limits::admin_deadline_ms);
  auto client = api::Client::make(std::move(options));
  if (!client) return fail(client.error());
  auto metrics = (*client)->request("GET", "/metrics");
  if (!metrics) return fail(metrics.error());
  constexpr std::string_view metric = "_routes_generation ";
  for (std::size_t at = 0; (at = metrics->find(metric, at)) != std::string::npos; at += metric.size()) {
    const auto line = metrics->rfind('\n', at) + 1;  // npos + 1 is 0: the first line
    if ((*metrics)[line] == '#') continue;
    std::uint64_t value = 0;
    const char* first = metrics->data() + at + metric.size();
    if (std::from_chars(first, metrics->data() + metrics->size(), value).ec == std::errc()) return value;
  }
  return fail(Code::protocol, "no generation among the metrics", admin_socket);
}

}  // namespace epif::agent
