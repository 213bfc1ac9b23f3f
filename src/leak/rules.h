#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

/// What the redirectors of this network namespace protect, as their rules say.
namespace epif::leak {

struct Guard {
  std::uint16_t listen_port = 0;
  std::vector<CaptureTarget> targets;   ///< protected
  std::vector<CaptureTarget> own;       ///< where the redirector's own TCP goes: proxies, and destinations of direct routes
  std::vector<CaptureTarget> excluded;  ///< neither captured nor guarded
  std::vector<std::string> names{};     ///< of its routes, which the redirector answers itself
  std::uint32_t mark = 0;               ///< of the redirector's own packets; 0: no rule names it
};

/// From the text of `nft list table inet epif_redirect_PORT`. A rule that somebody removed does not hide its target, as long as
/// another rule names it. Pure.
[[nodiscard]] Guard read_guard(std::uint16_t listen_port, std::string_view listing);

/// All redirectors' guards in the network namespace of the calling thread; each also names what its lists in `state_dir` name.
/// Errors: those of nftables.
[[nodiscard]] Result<std::vector<Guard>> guards(const std::string& state_dir);

}  // namespace epif::leak
