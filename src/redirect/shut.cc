#include "redirect/shut.h"

#include <charconv>
#include <filesystem>

#include "net/nft.h"
#include "redirect/installed_capture.h"
#include "redirect/running.h"

namespace epif::redirect {
namespace {

Result<> shut_one(InstalledCapture& capture, std::uint16_t port) {
  const auto alone = claim(port);  // until it is done nobody else begins
  if (!alone) return fail(alone.error());
  return capture.shut();
}

}  // namespace

Result<> shut(const std::string& state) {
  const auto tables = net::nft_tables(table_prefix);
  if (!tables) return fail(tables.error());
  bool own = false;
  Result<> own_first, others_first;
  for (const auto& table : *tables) {
    std::uint16_t port = 0;
    const auto text = std::string_view(table.name).substr(table_prefix.size());
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (failure != std::errc{} || end != text.data() + text.size()) continue;
    InstalledCapture capture(port, state);
    std::error_code ignored;
    const bool is_own = std::filesystem::exists(capture.state_file(".targets"), ignored);
    auto done = shut_one(capture, port);
    own = own || is_own;
    auto& first = is_own ? own_first : others_first;
    if (first && !done) first = std::move(done);
  }
  // Where the lists of this folder's rules are lost, they are among the others.
  return own ? own_first : others_first;
}

}  // namespace epif::redirect
