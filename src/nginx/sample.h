#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "model/route.h"

/// Routes of method nginx for tests.
namespace epif::nginx::sample {

inline Route route(std::string id, std::string flow, std::string_view listen, const std::vector<std::string_view>& clients,
                   std::string_view destination, std::string peer = "umc/modality") {
  Route made;
  made.id = std::move(id);
  made.flow = std::move(flow);
  made.peers = {std::move(peer)};
  made.destination = *CaptureTarget::parse(destination);
  made.nginx = NginxPort{*SocketAddress::parse(listen), {}, false};
  for (const auto client : clients) made.nginx->clients.push_back(*IpAddress::parse(client));
  return made;
}

}  // namespace epif::nginx::sample
