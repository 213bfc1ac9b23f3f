#pragma once
#include "model/route.h"
#include "net/tcp.h"
#include "proxy/upstream.h"
#include "socks/stack_option.h"

/// SOCKS6 stack options of CONNECT (draft-12 section 7.1): what we do of what a client wishes, and what we tell about it.
/// Supported: TOS, TTL, TCP Fast Open, Happy Eyeballs; Multipath is answered "not available"; others meet silence.
namespace epif::proxy {

/// The same wish about the proxy-remote leg alone, as it is passed on to a next proxy.
[[nodiscard]] socks6::StackOption on_remote_leg(const socks6::StackOption& option);

/// Socket options for the connection to the server. Fast Open only where the route says that a replay is safe.
[[nodiscard]] net::ConnectOptions remote_options(const socks6::StackOptions& wishes, const Route& route);
[[nodiscard]] socks6::StackOptions remote_leg_facts(const socks6::StackOptions& wishes, const Upstream& upstream);

/// Sets what concerns the client's connection, and tells what was set.
[[nodiscard]] socks6::StackOptions client_leg_facts(const socks6::StackOptions& wishes, int client_fd);

}  // namespace epif::proxy
