#include "net/nft.h"

#include <nftables/libnftables.h>

#include <memory>

namespace epif::net {
namespace {

struct FreeContext {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

// nft has no error numbers for its callers, only the system's words at the end of its message.
Code code_of(std::string_view message) {
  if (message.contains("Operation not permitted")) return Code::permission;
  if (message.contains("No such file or directory") || message.contains("No such device")) return Code::not_found;
  if (message.contains("Operation not supported")) return Code::unsupported;
  if (message.contains("syntax error")) return Code::invalid_input;
  return Code::io;
}

std::string one_line(std::string_view message) {
  std::string line(message.substr(0, message.find('\n')));
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace

Result<std::string> run_nft(const std::string& commands) {
  const std::unique_ptr<nft_ctx, FreeContext> context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context) return fail(Code::io, "cannot open nftables");
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) != 0) {
    const std::string message = nft_ctx_get_error_buffer(context.get());
    const auto code = code_of(message);
    return fail(code, "nftables refused", "", one_line(message),
                code == Code::permission ? "run as root (capability NET_ADMIN)" : "");
  }
  return std::string(nft_ctx_get_output_buffer(context.get()));
}

std::vector<NftTable> parse_table_list(std::string_view listing, std::string_view prefix) {
  std::vector<NftTable> found;
  while (!listing.empty()) {
    const auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    // "table FAMILY NAME"
    const auto family_at = line.find(' ');
    const auto name_at = line.find(' ', family_at + 1);
    if (family_at == line.npos || name_at == line.npos || line.substr(0, family_at) != "table") continue;
    const auto name = line.substr(name_at + 1);
    if (name.starts_with(prefix)) {
      found.push_back({std::string(line.substr(family_at + 1, name_at - family_at - 1)), std::string(name)});
    }
  }
  return found;
}

Result<std::vector<NftTable>> nft_tables(std::string_view prefix) {
  auto listing = run_nft("list tables\n");
  if (!listing) return fail(listing.error());
  return parse_table_list(*listing, prefix);
}

}  // namespace epif::net
