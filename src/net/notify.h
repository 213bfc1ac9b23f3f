#pragma once
#include <string_view>

namespace epif::net {

/// Tells a service manager (systemd, sd_notify(3)) how it stands, for example "READY=1". Nothing happens without a manager that
/// asked for it by NOTIFY_SOCKET.
void notify_manager(std::string_view state);

}  // namespace epif::net
