// What a predecessor says of flows that move here: no crash, and what was understood is said again in the same words.
#include <sys/eventfd.h>

#include <cstdlib>
#include <string>

#include "net/unix_socket.h"
#include "proxy/moved_flow.h"

using namespace epif;

// Lines are messages; a digit before one says how many descriptors come with it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 64 * 1024) return 0;
  proxy::Unpacking unpacking;
  auto rest = as_text(ByteSpan(data, size));
  while (!rest.empty()) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.empty()) continue;
    std::vector<Fd> descriptors;
    const auto count = static_cast<unsigned>(line.front() - '0');
    for (unsigned i = 0; i < count && count <= net::descriptors_in_message; ++i) descriptors.emplace_back(::eventfd(0, EFD_CLOEXEC));
    auto taken = unpacking.take(line.substr(1), std::move(descriptors));
    if (!taken || !*taken) continue;
    std::vector<std::string> words;
    for (auto& parcel : proxy::pack(std::move(**taken))) words.push_back(std::to_string(parcel.descriptors.size()) + parcel.text);
    proxy::Unpacking again;
    std::optional<proxy::MovedFlows> same;
    for (const auto& word : words) {
      std::vector<Fd> copies;
      for (int i = 0; i < word.front() - '0'; ++i) copies.emplace_back(::eventfd(0, EFD_CLOEXEC));
      auto part = again.take(std::string_view(word).substr(1), std::move(copies));
      if (!part) std::abort();
      same = std::move(*part);
    }
    if (!same) std::abort();
    std::size_t at = 0;
    for (auto& parcel : proxy::pack(std::move(*same))) {
      if (std::to_string(parcel.descriptors.size()) + parcel.text != words[at++]) std::abort();
    }
  }
  return 0;
}
