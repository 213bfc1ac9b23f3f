#include "proxy/server.h"

#include <fmt/format.h>

#include <algorithm>

#include "command.h"

namespace epif::app {
namespace {

struct ProxyFlags {
  std::vector<std::string> listen;
  std::string tls_listen;
  std::string certificate, key, authority;
  std::string routes;
  bool allow_all = false;
  std::vector<std::string> users;
  std::string user_file;
  std::vector<std::string> name_servers;
  std::string admin;
  bool take_over = false;
  std::string hpke_key;
  std::size_t warm = limits::warm_pool_connections_next;
  bool no_resumption = false;
  bool mptcp = false;
  std::string splice = "auto";
  std::string turns = "batch";
  std::string trunk = "auto";
  unsigned threads = 0;
  std::uint32_t max_connections = 0;
  std::uint32_t max_connections_per_source = 0;
  std::uint32_t max_handshakes = 0;
  std::uint32_t max_handshakes_per_source = 0;
  std::uint32_t max_rate = 0;
  std::uint32_t max_rate_per_source = 0;
  std::size_t max_handshake_bytes = 0;
  std::size_t max_handshake_bytes_per_source = 0;
  std::uint32_t bind_deadline_s = 0;
  std::vector<std::string> dialects;
};

constexpr auto examples = R"(Examples:
  epif proxy --listen 127.0.0.1:1080 --allow-all
  epif proxy --listen 127.0.0.1:1080 --routes routes.json --admin unix:/run/epif/proxy.sock
  epif proxy --listen 10.1.0.2:1081 --dialect socksx --routes routes.json
  epif proxy --tls-listen 0.0.0.0:1083 --cert node.pem --key node.key --ca ca.pem --routes routes.json)";

void add_flags(CLI::App& command, ProxyFlags& flags) {
  command.footer(examples);
  command.add_option("--listen", flags.listen, "Listen here in clear: SOCKS4, 4a, 5 and 6 on one port; repeats")->type_name("ADDR:PORT");
  command.add_option("--tls-listen", flags.tls_listen, "Listen here with TLS 1.3; clients need a certificate")->type_name("ADDR:PORT");
  command.add_option("--cert", flags.certificate, "Own certificate chain, PEM; watched, as key and CA are, and read again on SIGHUP")->type_name("FILE");
  command.add_option("--key", flags.key, "Its private key, PEM")->type_name("FILE");
  command.add_option("--ca", flags.authority, "Authority that peers' certificates must chain to, PEM")->type_name("FILE");
  command.add_option("--routes", flags.routes, "Routes (JSON); watched, and read again on SIGHUP")->type_name("FILE");
  command.add_flag("--allow-all", flags.allow_all, "Permit every destination to everyone who can connect");
  command.add_option("--user", flags.users, "User for the listener in clear; repeats")->type_name("NAME:PASSWORD");
  command.add_option("--user-file", flags.user_file, "The same, one a line, so that no password stands in the process list")->type_name("FILE");
  command.add_option("--dns", flags.name_servers, "Name server behind the DNS service, port 53 of 0.0.0.0 and ::; default: the system's; repeats")->type_name("ADDR:PORT");
  command.add_option("--admin", flags.admin, "Admin socket: GET /metrics, /flows, /healthz")->type_name("unix:PATH");
  command.add_flag("--take-over", flags.take_over, "Take the listening sockets from the proxy that runs with the same --admin; it drains and ends");
  command.add_option("--warm", flags.warm, "Connections that stand ready to each next proxy with TLS, each thread; 0 for none")
      ->check(CLI::Range(0u, limits::warm_pool_connections_most))->capture_default_str();
  command.add_flag("--no-resumption", flags.no_resumption, "No TLS session is resumed: each handshake checks certificates, to measure what resumption saves");
  command.add_flag("--mptcp", flags.mptcp, "Speak MPTCP with clients and next proxies that do, over all addresses of this node");
  command.add_option("--hpke-key", flags.hpke_key, "X25519 key of this proxy, for pairs of functions")->type_name("FILE");
  command.add_option("--trunk", flags.trunk, "Offer redirectors to carry many flows in one connection")
      ->check(CLI::IsMember({"auto", "off"}))->type_name("auto|off")->capture_default_str();
  command.add_option("--splice", flags.splice, "Move bytes between two clear TCP connections inside the kernel: always, never, or where much is under way")
      ->check(CLI::IsMember(net::splice_words))->type_name("auto|on|off")->capture_default_str();
  command.add_option("--turns", flags.turns, "Scheduling of the threads that carry: batch lets senders finish first, so that one turn serves more; usual is for nodes whose cores other work keeps busy")
      ->check(CLI::IsMember(net::turns_words))->type_name("batch|usual")->capture_default_str();
  command.add_option("--threads", flags.threads, "Worker threads; default: one a core")->check(CLI::Range(1, 256));
  command.add_option("--max-connections", flags.max_connections, "Connections in all")->check(CLI::Range(1, 1'000'000));
  command.add_option("--max-connections-per-source", flags.max_connections_per_source, "Connections from one address")
      ->check(CLI::Range(1, 1'000'000));
  command.add_option("--max-handshakes", flags.max_handshakes, "Connections in all that have not asked for anything yet")->check(CLI::Range(1, 1'000'000));
  command.add_option("--max-handshakes-per-source", flags.max_handshakes_per_source, "The same from one address")->check(CLI::Range(1, 1'000'000));
  command.add_option("--max-rate", flags.max_rate, "New connections a second in all")->check(CLI::Range(1, 10'000'000));
  command.add_option("--max-rate-per-source", flags.max_rate_per_source, "The same from one address")->check(CLI::Range(1, 10'000'000));
  command.add_option("--max-handshake-bytes", flags.max_handshake_bytes, "Bytes of unread requests in all");
  command.add_option("--max-handshake-bytes-per-source", flags.max_handshake_bytes_per_source, "The same from one address");
  command.add_option("--bind-deadline", flags.bind_deadline_s, "Seconds within which the peer of a BIND must come")->check(CLI::Range(1, 86'400));
  command.add_option("--dialect", flags.dialects,
                     "Take SOCKS6 in the form of the EPI project's own programs: socksx for all listeners, socksx@ADDR:PORT for one; repeats")
      ->type_name("socksx[@ADDR:PORT]");
}

Result<SocketAddress> parse_address(const std::string& text, std::string_view flag) {
  auto address = SocketAddress::parse(text);
  if (!address) return fail(Code::usage, address.error().what, std::string(flag), {}, "write ADDR:PORT, IPv6 in brackets");
  return address;
}

Result<> read_listeners(const ProxyFlags& flags, proxy::Settings& settings) {
  for (const auto& text : flags.listen) {
    const auto address = parse_address(text, "--listen");
    if (!address) return fail(address.error());
    settings.listen.push_back(*address);
  }
  const bool some = !flags.certificate.empty() || !flags.key.empty() || !flags.authority.empty();
  const bool all = !flags.certificate.empty() && !flags.key.empty() && !flags.authority.empty();
  if (some && !all) return fail(Code::usage, "--cert, --key and --ca go together");
  if (all) settings.tls = net::TlsFiles{flags.certificate, flags.key, flags.authority, !flags.no_resumption};
  if (!flags.tls_listen.empty()) {
    if (!all) return fail(Code::usage, "--tls-listen needs --cert, --key and --ca");
    const auto address = parse_address(flags.tls_listen, "--tls-listen");
    if (!address) return fail(address.error());
    settings.tls_listen = *address;
  }
  if (settings.listen.empty() && !settings.tls_listen) return fail(Code::usage, "nowhere to listen", {}, {}, "give --listen or --tls-listen");
  return {};
}

Result<> read_dialects(const ProxyFlags& flags, proxy::Settings& settings) {
  constexpr std::string_view one = "socksx@";
  for (const auto& text : flags.dialects) {
    if (text == "socksx") {
      settings.socksx_everywhere = true;
    } else if (text.starts_with(one)) {
      const auto at = parse_address(text.substr(one.size()), "--dialect");
      if (!at) return fail(at.error());
      const bool known = std::ranges::find(settings.listen, *at) != settings.listen.end() || settings.tls_listen == *at;
      if (!known) return fail(Code::usage, "nothing listens on " + at->text(), "--dialect", {}, "name an address of --listen or --tls-listen");
      settings.socksx.push_back(*at);
    } else if (text != "draft") {
      return fail(Code::usage, "unknown dialect '" + text + "'", "--dialect", {}, "write draft, socksx or socksx@ADDR:PORT");
    }
  }
  return {};
}

Result<> read_rules(const ProxyFlags& flags, proxy::Settings& settings) {
  if (flags.allow_all && !flags.routes.empty()) return fail(Code::usage, "--allow-all and --routes exclude each other");
  if (!flags.allow_all && flags.routes.empty()) {
    return fail(Code::usage, "nothing would be permitted", {}, {}, "give --routes FILE, or --allow-all");
  }
  settings.allow_all = flags.allow_all;
  for (const auto& text : flags.name_servers) {
    const auto address = parse_address(text, "--dns");
    if (!address) return fail(address.error());
    settings.name_servers.push_back(*address);
  }
  if (!flags.routes.empty()) settings.routes = flags.routes;
  for (const auto& user : flags.users) {
    auto added = settings.users.add(user);
    if (!added) return fail(Code::usage, added.error().what, "--user");
  }
  if (!flags.user_file.empty()) {
    auto added = settings.users.add_file(flags.user_file);
    if (!added) return added;
  }
  if (!flags.hpke_key.empty()) settings.hpke_key = flags.hpke_key;
  constexpr std::string_view scheme = "unix:";
  if (!flags.admin.empty()) {
    if (!flags.admin.starts_with(scheme) || flags.admin.size() == scheme.size()) {
      return fail(Code::usage, "an admin socket is unix:PATH", "--admin");
    }
    settings.admin = flags.admin.substr(scheme.size());
  }
  if (flags.take_over && settings.admin.empty()) return fail(Code::usage, "--take-over needs --admin", "epif proxy", {}, "name the running proxy's admin socket");
  settings.take_over = flags.take_over;
  return {};
}

Result<> run_proxy(const ProxyFlags& flags) {
  proxy::Settings settings;
  settings.threads = flags.threads;
  settings.splice = net::splice_words.at(flags.splice);
  settings.turns = net::turns_words.at(flags.turns);
  settings.warm = flags.warm;
  settings.multipath = flags.mptcp;
  settings.trunk = flags.trunk == "auto";
  settings.max_connections = flags.max_connections;
  settings.max_connections_per_source = flags.max_connections_per_source;
  settings.max_handshakes = flags.max_handshakes;
  settings.max_handshakes_per_source = flags.max_handshakes_per_source;
  settings.max_rate = flags.max_rate;
  settings.max_rate_per_source = flags.max_rate_per_source;
  settings.max_handshake_bytes = flags.max_handshake_bytes;
  settings.max_handshake_bytes_per_source = flags.max_handshake_bytes_per_source;
  settings.bind_deadline_s = flags.bind_deadline_s;
  auto listeners = read_listeners(flags, settings);
  if (!listeners) return listeners;
  auto dialects = read_dialects(flags, settings);
  if (!dialects) return dialects;
  auto rules = read_rules(flags, settings);
  if (!rules) return rules;
  return proxy::serve(std::move(settings));
}

}  // namespace

void add_proxy(CLI::App& root, Exit& exit) {
  auto flags = std::make_shared<ProxyFlags>();
  auto* command = root.add_subcommand("proxy", "Carry flows for clients that speak SOCKS, by routes and through chains");
  add_flags(*command, *flags);
  command->callback([flags, &exit] {
    const auto outcome = run_proxy(*flags);
    if (!outcome) exit = report(outcome.error());
  });
}

}  // namespace epif::app
