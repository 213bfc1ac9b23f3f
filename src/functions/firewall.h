#pragma once
#include "functions/transform.h"

namespace epif::functions {

/// Lets a connection through if its destination is allowed and its first bytes are of the expected protocol.
/// Parameter `allow`: destinations, separated by commas or spaces: an address, CIDR or host name, each with an optional
/// port or port range after ':' ("10.2.0.10:4242, pacs.example:8042-8050, fd09::/64"); absent: the route's own destination is
/// enough. Parameter `protocol`: any (default), dicom, http, tls, ssh, mysql. First bytes are held until they are judged,
/// at most limits::handshake_deadline_ms; the other direction flows meanwhile, so a server may speak first.
[[nodiscard]] Result<std::unique_ptr<Transform>> open_firewall(const bridge::Open& open);

}  // namespace epif::functions
