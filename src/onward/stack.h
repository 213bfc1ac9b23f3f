#pragma once
#include "model/route.h"
#include "net/tcp.h"
#include "onward/upstream.h"
#include "socks/stack_option.h"

/// SOCKS6 stack options (draft-12 section 7.1): what we do of what a client wishes, and what we tell about it. Each option that a
/// client sent is answered, on its leg, in every Operation Reply, since silence says "unsupported": with what the kernel then says is
/// in force, and where an option is not of this command, by the value that says no (Multipath, UDP Error, Port Parity, and a Listen
/// Backlog of 0: not granted). Multipath gives way to TTL and No Fragmentation, which the kernel does not have for it.
///
/// The draft leaves three things open. Happy Eyeballs is ignored where no name was asked for. Fast Open is answered only where it was
/// attempted, or is served: its answer has no way to say no. And where no connection to a remote host stands, options without a
/// value that says so tell what a connection from here would have: see probed_facts() and failure_facts(). Only a request that could
/// not be read, or for whose reading there was no place, is refused without.
namespace epif::onward {

/// The same wish about the proxy-remote leg alone, as it is passed on to a next proxy.
[[nodiscard]] socks6::StackOption on_remote_leg(const socks6::StackOption& option);

/// Socket options for the connection to the server. Fast Open only where a replay does no harm.
[[nodiscard]] net::ConnectOptions remote_options(const socks6::StackOptions& wishes, bool replay_safe);
/// `named`: the client asked for a name.
[[nodiscard]] socks6::StackOptions remote_leg_facts(const socks6::StackOptions& wishes, const Upstream& upstream, bool named);

/// True if every wish about the remote leg can be left out: a connection that stands already serves as well. Of all options that is so
/// of Fast Open alone, which saves the round trip that such a connection does not need.
[[nodiscard]] bool served_by_any_connection(const socks6::StackOptions& wishes);

/// Sets what concerns the client's connection, and tells what was set.
[[nodiscard]] socks6::StackOptions client_leg_facts(const socks6::StackOptions& wishes, int client_fd);

/// `facts`, and a no for each wish that they do not speak of, as far as its option has one.
[[nodiscard]] socks6::StackOptions with_denials(socks6::StackOptions facts, const socks6::StackOptions& wishes);

/// Of a NOOP, by which clients probe: what a connection to a server would have here, with these wishes; of what is of BIND or UDP
/// alone, that there is none. Nothing is sent. Silence for Fast Open, which the route decides on.
[[nodiscard]] socks6::StackOptions probed_facts(const socks6::StackOptions& wishes, bool named);

/// Of a failed request: nothing is in force on the remote leg; TOS and TTL as probed_facts() has them. `raced`: addresses of a name
/// were tried beside each other (of what a next proxy tried nothing is known).
[[nodiscard]] socks6::StackOptions failure_facts(const socks6::StackOptions& wishes, bool named, bool raced);

/// BIND: how to listen; what is set on the listening socket, of which `backlog` is granted; and what an accepted one gets.
[[nodiscard]] net::ListenOptions listener_options(const socks6::StackOptions& wishes);
[[nodiscard]] socks6::StackOptions listener_facts(const socks6::StackOptions& wishes, int listener_fd, std::uint16_t backlog);
void set_remote(const socks6::StackOptions& wishes, int fd);

}  // namespace epif::onward
