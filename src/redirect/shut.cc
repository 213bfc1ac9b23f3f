#include "redirect/shut.h"

#include <charconv>

#include "net/nft.h"
#include "redirect/installed_capture.h"
#include "redirect/running.h"

namespace epif::redirect {

Result<> shut(const std::string& state) {
  const auto tables = net::nft_tables(table_prefix);
  if (!tables) return fail(tables.error());
  for (const auto& table : *tables) {
    std::uint16_t port = 0;
    const auto text = std::string_view(table.name).substr(table_prefix.size());
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (failure != std::errc{} || end != text.data() + text.size()) continue;
    const auto alone = claim(port);  // until it is done nobody else begins
    if (!alone) return fail(alone.error());
    if (auto done = InstalledCapture(port, state).shut(); !done) return done;
  }
  return {};
}

}  // namespace epif::redirect
