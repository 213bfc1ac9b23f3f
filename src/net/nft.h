#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

/// nftables through libnftables, in the network namespace of the calling thread. Not for more than one thread at a time.
namespace epif::net {

/// Runs `commands` (nft's own language, as in a file for `nft -f`) as one transaction: all of it or nothing. Gives what nft
/// prints. Errors: permission (not root), invalid_input or io with nft's words, not_found (a device or table is gone),
/// unsupported (the kernel lacks a feature).
[[nodiscard]] Result<std::string> run_nft(const std::string& commands);

struct NftTable {
  std::string family;  ///< "inet", "netdev", ...
  std::string name;
  friend bool operator==(const NftTable&, const NftTable&) = default;
};
/// All tables whose name begins with `prefix`.
[[nodiscard]] Result<std::vector<NftTable>> nft_tables(std::string_view prefix);

/// The tables in the output of `list tables`; pure.
[[nodiscard]] std::vector<NftTable> parse_table_list(std::string_view listing, std::string_view prefix);

}  // namespace epif::net
