#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "api/pki.h"
#include "api/server.h"
#include "base/log.h"
#include "command.h"
#include "net/descriptors.h"
#include "net/notify.h"
#include "observe/observe.h"
#include "redirect/service.h"
#include "redirect/shut.h"
#include "stop_signal.h"

namespace epif::app {
namespace {

struct RedirectArguments {
  std::string proxy;
  int socks = 6;
  std::string cert, key, ca, proxy_identity;
  std::vector<std::string> capture, exclude, names, users, cgroups, exclude_users, exclude_cgroups;
  bool gateway = false;
  bool untracked = false;
  bool dns = false;
  std::string routes;
  std::optional<std::size_t> warm;
  bool fast_open = false;
  bool no_resumption = false;
  bool mptcp = false;
  std::uint32_t first_bytes_wait_ms = limits::first_bytes_wait_ms;
  bool no_false_start = false;
  std::string proxy_user, user_file;
  redirect::Forwarded::Limits per_source;
  std::string admin;
  std::uint16_t listen_port = 15001;
  bool listen_port_given = false;
  int dns_port = -1;
  std::string state = "/run/epif";
  std::string splice = "auto";
  std::string turns = "batch";
  std::string trunk = "auto";
  std::string connect_hook = "auto";
  unsigned threads = 0;
  bool exec = false;
  std::vector<std::string> command;
  std::string exec_user;
  bool take_over = false;
  std::optional<std::uint32_t> drain_s;
  bool uninstall = false;
  bool shut = false;
  bool observe = false;
  std::uint32_t observe_s = 0;
  std::string observe_out;
};

Result<redirect::ProxyUser> parse_user(std::string_view text, const std::string& where) {
  const auto colon = text.find(':');
  const auto name = text.substr(0, colon);
  const auto password = colon == text.npos ? std::string_view{} : text.substr(colon + 1);
  if (name.empty() || password.empty() || name.size() > limits::name_max_bytes || password.size() > limits::name_max_bytes) {
    return fail(Code::usage, "expected NAME:PASSWORD, 1 to 255 bytes each", where);
  }
  return redirect::ProxyUser{std::string(name), std::string(password)};
}

Result<std::optional<redirect::ProxyUser>> proxy_user(const RedirectArguments& arguments) {
  if (!arguments.user_file.empty()) {
    struct stat facts {};
    if (::stat(arguments.user_file.c_str(), &facts) == 0 && (facts.st_mode & 077) != 0) {
      return fail(Code::permission, "others may read the file with the password", arguments.user_file, {}, "chmod 600 it");
    }
    std::ifstream file(arguments.user_file);
    std::string line;
    if (!file || !std::getline(file, line)) return fail(Code::not_found, "cannot read name and password", arguments.user_file);
    auto user = parse_user(line, arguments.user_file);
    if (!user) return fail(std::move(user.error()));
    return std::optional(std::move(*user));
  }
  if (arguments.proxy_user.empty()) return std::optional<redirect::ProxyUser>{};
  auto user = parse_user(arguments.proxy_user, "--proxy-user");
  if (!user) return fail(std::move(user.error()));
  return std::optional(std::move(*user));
}

Result<std::optional<net::TlsFiles>> certificate_files(const RedirectArguments& arguments) {
  const bool any = !arguments.cert.empty() || !arguments.key.empty() || !arguments.ca.empty();
  if (!any) return std::optional<net::TlsFiles>{};
  if (arguments.cert.empty() || arguments.key.empty() || arguments.ca.empty()) {
    return fail(Code::usage, "--cert, --key and --ca belong together", "epif redirect");
  }
  return net::TlsFiles{arguments.cert, arguments.key, arguments.ca, !arguments.no_resumption};
}

Result<> read_targets(const std::vector<std::string>& texts, std::string_view what, std::vector<CaptureTarget>& into) {
  for (const auto& text : texts) {
    auto target = CaptureTarget::parse(text);
    if (!target) {
      return fail(Code::usage, fmt::format("bad {} target", what), text, target.error().text(), "ADDRESS, CIDR, and :PORT or :FIRST-LAST behind it");
    }
    into.push_back(*target);
  }
  return {};
}

/// NAME=ADDRESS.
Result<> read_names(const std::vector<std::string>& texts, redirect::ServiceOptions& options) {
  for (const auto& text : texts) {
    const auto equal = text.find('=');
    auto name = text.substr(0, equal);
    while (name.ends_with('.')) name.pop_back();
    auto address = IpAddress::parse(equal == text.npos ? "" : text.substr(equal + 1));
    if (name.empty() || name.size() > limits::name_max_bytes || !address) {
      return fail(Code::usage, "bad name", text, address ? "" : address.error().text(), "NAME=ADDRESS");
    }
    options.names.emplace_back(std::move(name), *address);
  }
  return {};
}

Result<> read_cgroups(const std::vector<std::string>& paths, const std::string& flag, std::vector<std::string>& into) {
  for (std::string_view path : paths) {
    for (const std::string_view mount : {"/sys/fs/cgroup/unified/", "/sys/fs/cgroup/"}) {
      if (path.starts_with(mount)) path.remove_prefix(mount.size());
    }
    while (path.starts_with('/')) path.remove_prefix(1);
    while (path.ends_with('/')) path.remove_suffix(1);
    if (path.empty()) return fail(Code::usage, "the root cgroup holds everything", flag, "", "leave the flag out");
    into.emplace_back(path);
  }
  return {};
}

Result<> read_selector(const RedirectArguments& arguments, redirect::ServiceOptions& options) {
  for (const auto& user : arguments.users) {
    if (user.empty() || user.contains(':')) {
      return fail(Code::usage, "expected a user's name or number", "--user " + user.substr(0, user.find(':')), "",
                  "name and password for the proxy go into --user-file");
    }
    options.selector.users.push_back(user);
  }
  for (const auto& user : arguments.exclude_users) {
    if (user.empty()) return fail(Code::usage, "expected a user's name or number", "--exclude-user");
    options.excluded_users.push_back(user);
  }
  if (auto read = read_cgroups(arguments.cgroups, "--cgroup", options.selector.cgroups); !read) return read;
  return read_cgroups(arguments.exclude_cgroups, "--exclude-cgroup", options.excluded_cgroups);
}

Result<> read_rules(const RedirectArguments& arguments, redirect::ServiceOptions& options) {
  auto read = read_targets(arguments.capture, "capture", options.capture);
  if (read) read = read_targets(arguments.exclude, "exclude", options.excluded);
  if (read) read = read_names(arguments.names, options);
  if (read) read = read_selector(arguments, options);
  if (!read) return read;
  if (!arguments.routes.empty() && (!options.names.empty() || !options.selector.empty())) {
    return fail(Code::usage, "--map, --user and --cgroup belong to --proxy", "epif redirect", "with --routes each route has its own");
  }
  options.gateway = arguments.gateway;
  options.untracked = arguments.untracked;
  options.connect_hook = arguments.connect_hook == "auto";
  options.dns = arguments.dns;
  return {};
}

Result<redirect::ServiceOptions> service_options(const RedirectArguments& arguments) {
  redirect::ServiceOptions options;
  auto& settings = options.settings;
  auto rules = read_rules(arguments, options);
  if (!rules) return fail(std::move(rules.error()));
  if (arguments.routes.empty()) {
    if (arguments.proxy.empty()) return fail(Code::usage, "--proxy ADDR:PORT or --routes FILE is needed", "epif redirect");
    if (options.capture.empty() && options.names.empty()) return fail(Code::usage, "--capture TARGET is needed", "epif redirect");
    auto proxy = SocketAddress::parse(arguments.proxy);
    if (!proxy) return fail(Code::usage, "bad proxy address", arguments.proxy, proxy.error().text());
    options.proxy = *proxy;
  } else if (!arguments.proxy.empty()) {
    return fail(Code::usage, "--proxy and --routes exclude each other", "epif redirect", "each route names its proxy");
  }
  auto tls = certificate_files(arguments);
  if (!tls) return fail(std::move(tls.error()));
  if (!arguments.proxy_identity.empty() && !*tls) return fail(Code::usage, "--proxy-identity needs --cert, --key and --ca", "epif redirect");
  if (arguments.per_source.any() && !arguments.gateway) return fail(Code::usage, "--max-...-per-source bounds hosts that this node forwards for: it needs --gateway", "epif redirect");
  auto user = proxy_user(arguments);
  if (!user) return fail(std::move(user.error()));
  if (arguments.exec && arguments.command.empty()) return fail(Code::usage, "--exec needs a command", "epif redirect");
  if (!arguments.exec && !arguments.command.empty()) return fail(Code::usage, "unknown argument", arguments.command.front());
  settings.listen_port = arguments.listen_port;
  // 15053 beside 15001.
  const int beside = arguments.listen_port <= 65'483 ? arguments.listen_port + 52 : arguments.listen_port - 52;
  settings.dns_port = static_cast<std::uint16_t>(arguments.dns_port >= 0 ? arguments.dns_port : beside);
  if (settings.dns_port == settings.listen_port) return fail(Code::usage, "--dns-port and --listen-port are the same", "epif redirect");
  settings.threads = arguments.threads;
  settings.max_flows = net::connections_that_fit();
  settings.forwarded = std::make_shared<redirect::Forwarded>(arguments.per_source, settings.max_flows,
                                                            settings.threads != 0 ? settings.threads : redirect::usual_threads());
  settings.socks = arguments.socks;
  settings.warm = arguments.warm;
  settings.fast_open = arguments.fast_open;
  settings.splice = net::splice_words.at(arguments.splice);
  settings.turns = net::turns_words.at(arguments.turns);
  settings.multipath = arguments.mptcp;
  settings.trunk = arguments.trunk == "auto";
  settings.first_bytes_wait_ms = arguments.first_bytes_wait_ms;
  settings.false_start = !arguments.no_false_start;
  settings.user = std::move(*user);
  options.certificate = std::move(*tls);
  settings.tls_always = arguments.routes.empty() && options.certificate.has_value();
  options.proxy_identity = arguments.proxy_identity;
  options.routes_file = arguments.routes;
  options.state_dir = arguments.state;
  if (arguments.take_over && arguments.exec) return fail(Code::usage, "--take-over and --exec exclude each other", "epif redirect");
  if (arguments.drain_s && !arguments.take_over) return fail(Code::usage, "--drain belongs to --take-over", "epif redirect");
  options.take_over = arguments.take_over;
  options.drain_s = arguments.drain_s.value_or(limits::handover_drain_s);
  options.command = arguments.command;
  options.command_user = arguments.exec_user;
  return options;
}

Result<std::unique_ptr<api::Server>> admin_server(const std::string& address, bool take_over, redirect::Service& service) {
  constexpr std::string_view scheme = "unix:";
  if (!address.starts_with(scheme) || address.size() == scheme.size()) {
    return fail(Code::usage, "expected unix:PATH", "--admin " + address);
  }
  api::Router router;
  router.add("GET", "/healthz", [&service](const api::Request&) -> api::Reply {
    if (!service.guarded()) return api::Response{503, "the rules are not in force\n", "text/plain"};
    return api::Response{200, "ok\n", "text/plain"};
  });
  router.add("GET", "/metrics", [&service](const api::Request&) -> api::Reply {
    auto text = redirect::metrics_text(service.stats(false));
    text += "# HELP epif_redirect_routes_generation Generation of the routes that are served.\n"
            "# TYPE epif_redirect_routes_generation gauge\n";
    text += fmt::format("epif_redirect_routes_generation {}\n", service.generation());
    return api::Response{200, std::move(text), "text/plain; version=0.0.4"};
  });
  router.add("GET", "/flows", [&service](const api::Request&) -> api::Reply {
    return api::Response{200, redirect::flows_json(service.stats(true))};
  });
  api::ServerOptions options;
  options.unix_path = address.substr(scheme.size());
  options.succeed_unix = take_over;
  options.threads = 1;
  return api::Server::start(std::move(options), std::move(router));
}

/// Instead of capturing anything: what this node talks to, as a draft.
Exit observe(const RedirectArguments& arguments) {
  if (!arguments.proxy.empty() || !arguments.routes.empty() || !arguments.capture.empty() || arguments.exec || arguments.uninstall) {
    return report({Code::usage, "--observe captures nothing: it goes with --for and --out alone", "epif redirect", "", ""});
  }
  const StopSignal signal;
  log::info("redirect", "observes", {{"seconds", arguments.observe_s == 0 ? "until Ctrl-C" : std::to_string(arguments.observe_s)}});
  auto text = observe::observe({std::chrono::seconds(arguments.observe_s)}, signal.token());
  if (!text) return report(text.error());
  if (arguments.observe_out.empty()) {
    const bool written = std::fputs(text->c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
    return written ? Exit::done : report(system_error(errno, "cannot write the draft", "stdout"));
  }
  const auto written = api::write_file(arguments.observe_out, *text, 0644);
  return written ? Exit::done : report(written.error());
}

Exit run(const RedirectArguments& arguments) {
  if (::geteuid() != 0) {
    const auto* what = arguments.observe ? "cannot watch the packets of this node (a packet socket is root's)" : "cannot change the rules of this node";
    return report({Code::permission, what, "epif redirect", "not root", "run it as root"});
  }
  if (arguments.observe) return observe(arguments);
  if (arguments.shut) {
    const auto done = redirect::shut(arguments.state);
    return done ? Exit::done : report(done.error());
  }
  if (arguments.uninstall) {
    const auto port = arguments.listen_port_given ? std::optional(arguments.listen_port) : std::nullopt;
    const auto done = redirect::uninstall(port, arguments.state);
    return done ? Exit::done : report(done.error());
  }
  auto options = service_options(arguments);
  if (!options) return report(options.error());
  auto service = redirect::Service::start(std::move(*options));
  if (!service) return report(service.error());
  std::unique_ptr<api::Server> admin;
  if (!arguments.admin.empty()) {
    auto started = admin_server(arguments.admin, arguments.take_over, **service);
    if (!started) {
      const auto code = report(started.error());
      (*service)->abandon();
      return code;
    }
    admin = std::move(*started);
  }
  if (auto placed = (*service)->take_place(); !placed) {
    const auto code = report(placed.error());
    admin.reset();
    (*service)->abandon();
    return code;
  }
  // Not before: one that fails leaves the name to the process that goes on.
  if (const auto named = admin ? admin->succeed() : Result<>{}; !named) log::error("redirect", named.error());
  log::info("redirect", "captures", {{"port", std::to_string(arguments.listen_port)}});
  // Of a successor the manager knows nothing yet: it started another process.
  net::notify_manager(arguments.take_over ? fmt::format("MAINPID={}\nREADY=1", ::getpid()) : "READY=1");
  const auto code = (*service)->run();
  admin.reset();
  return code ? static_cast<Exit>(*code) : report(code.error());
}

}  // namespace

void add_redirect(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<RedirectArguments>();
  auto* command = root.add_subcommand("redirect", "Capture this node's connections and send them through a proxy");
  command->add_option("--proxy", arguments->proxy, "The proxy, ADDR:PORT");
  command->add_option("--socks", arguments->socks, "SOCKS version towards the proxy")->check(CLI::IsMember({5, 6}))->capture_default_str();
  command->add_option("--cert", arguments->cert, "Own certificate (PEM): the leg to the proxy is TLS 1.3");
  command->add_option("--key", arguments->key, "Its private key (PEM)");
  command->add_option("--ca", arguments->ca, "Authority that the proxy's certificate must chain to (PEM)");
  command->add_option("--proxy-identity", arguments->proxy_identity, "What the proxy's certificate must name, domain/node");
  command->add_option("--capture", arguments->capture, "ADDRESS or CIDR, with :PORT or :FIRST-LAST; repeats");
  command->add_option("--routes", arguments->routes, "Follow this routes.json instead of --proxy");
  command->add_option("--warm", arguments->warm, fmt::format("Connections to the proxy that stand ready; 0 for none (default {}; with --fast-open in clear none)", limits::warm_pool_connections));
  command->add_flag("--fast-open", arguments->fast_open, "TCP Fast Open to the proxy, and from the proxy to the server. A SYN may arrive twice: with --proxy the program's first bytes go in it, with --routes only on routes with replay_safe");
  command->add_flag("--no-false-start", arguments->no_false_start, "SOCKS6: send the client's first bytes only after the proxy's reply, for comparison");
  command->add_option("--first-bytes-wait", arguments->first_bytes_wait_ms, "Milliseconds to wait for the program's first bytes, so that they go with the request; 0 for none")
      ->check(CLI::Range(0u, limits::first_bytes_wait_max_ms))->capture_default_str();
  command->add_flag("--no-resumption", arguments->no_resumption, "Resume no TLS session with the proxy: each handshake checks certificates");
  command->add_flag("--mptcp", arguments->mptcp, "Speak MPTCP with proxies that do, over all addresses of this node: flows survive the loss of a link");
  command->add_option("--trunk", arguments->trunk, "Carry many flows in one connection to the proxy, where it offers that; bulk gets its own")
      ->check(CLI::IsMember({"auto", "off"}))->type_name("auto|off")->capture_default_str();
  command->add_option("--connect-hook", arguments->connect_hook, "Bring connections to destinations that were reached before without address translation (BPF), where the kernel lets")
      ->check(CLI::IsMember({"auto", "off"}))->type_name("auto|off")->capture_default_str();
  command->add_option("--splice", arguments->splice, "Move bytes between a program and a proxy in clear inside the kernel: always, never, or where much is under way")
      ->check(CLI::IsMember(net::splice_words))->type_name("auto|on|off")->capture_default_str();
  command->add_option("--turns", arguments->turns, "Scheduling of the threads that carry: batch lets senders finish first, so that one turn serves more; usual is for nodes whose cores other work keeps busy")
      ->check(CLI::IsMember(net::turns_words))->type_name("batch|usual")->capture_default_str();
  command->add_option("--exclude", arguments->exclude, "ADDRESS or CIDR as above, neither captured nor guarded; repeats");
  command->add_option("--exclude-user", arguments->exclude_users,
                      "Leave this user's programs alone (NAME or number): neither captured nor guarded; repeats");
  command->add_option("--exclude-cgroup", arguments->exclude_cgroups,
                      "Leave alone what runs in this cgroup or below it: neither captured nor guarded; repeats");
  command->add_option("--user", arguments->users, "Carry this user's traffic alone (NAME or number), refuse all other; repeats");
  command->add_option("--cgroup", arguments->cgroups, "Carry what runs in this cgroup or below it alone, refuse all other; repeats");
  command->add_option("--map", arguments->names, "NAME=ADDRESS: DNS answers the address, the proxy is asked for the name; repeats");
  command->add_flag("--dns", arguments->dns, "Capture DNS even without names");
  command->add_flag("--untracked", arguments->untracked, "Keep own connections out of connection tracking, for high rates; not where other rules of this node ask for states or translate addresses");
  command->add_flag("--gateway", arguments->gateway, "Take what this node forwards as well as its own");
  const CLI::Range some(1u, 1'000'000u);
  command->add_option("--max-connections-per-source", arguments->per_source.connections, "With --gateway: connections of one address behind it (default: a quarter of all)")->check(some);
  command->add_option("--max-handshakes-per-source", arguments->per_source.handshakes, "Of these, the ones that the proxy has not answered yet (default: half)")->check(some);
  command->add_option("--max-rate-per-source", arguments->per_source.rate, "New connections a second of one address behind the gateway (default 20000)")->check(some);
  command->add_option("--proxy-user", arguments->proxy_user, "NAME:PASSWORD for the proxy (seen by other users: prefer --user-file)");
  command->add_option("--user-file", arguments->user_file, "File whose first line is NAME:PASSWORD");
  command->add_option("--admin", arguments->admin, "unix:PATH for /metrics, /flows and /healthz");
  auto* port = command->add_option("--listen-port", arguments->listen_port, "Where captured connections arrive")->capture_default_str();
  command->add_option("--dns-port", arguments->dns_port, "Where captured DNS arrives; 0 for none (default 15053, beside 15001)")->check(CLI::Range(0, 65535));
  command->add_option("--state", arguments->state, "Folder for the list of captured destinations")->capture_default_str();
  command->add_option("--threads", arguments->threads, "Worker threads; 0 for one for each two processors")->capture_default_str();
  command->add_option("--exec-user", arguments->exec_user, "User that the command of --exec runs as");
  command->add_flag("--exec", arguments->exec, "Run the command behind it under capture, and remove the rules at its end");
  command->add_flag("--take-over", arguments->take_over, "Take sockets and rules from the redirector that runs on this port; what that one carries goes on, then it ends");
  command->add_option("--drain", arguments->drain_s, "With --take-over: seconds after which the old one cuts what it still carries (default 86400)");
  auto* observing = command->add_flag("--observe", arguments->observe, "Capture nothing; write what this node talks to as draft Nodes and Application (YAML)");
  command->add_option("--for", arguments->observe_s, "Seconds to observe; default: until Ctrl-C")->needs(observing);
  command->add_option("--out", arguments->observe_out, "File for the draft; default: stdout")->needs(observing);
  command->add_flag("--shut", arguments->shut, "With no redirector running: keep the rules, and end what the kernel carries to NGINX");
  command->add_flag("--uninstall", arguments->uninstall, "Stop redirectors of this network namespace and remove their rules");
  command->prefix_command();
  command->footer(
      "The rules outlive a crash: nothing leaks, connections are refused. A clean stop or --uninstall removes them.\n"
      "Examples:\n"
      "  epif redirect --proxy 10.1.0.2:1080 --capture 10.2.0.0/16 --capture '[fd09::5]:80'\n"
      "  epif redirect --proxy 10.1.0.2:1083 --cert node.pem --key node.key --ca ca.pem --capture 10.2.0.10:4242\n"
      "  epif redirect --proxy 10.1.0.2:1080 --capture 10.2.0.10 --exec curl http://10.2.0.10/\n"
      "  epif redirect --proxy 10.1.0.2:1080 --capture 10.2.0.0/16 --exclude 10.2.0.53 --map pacs.research=10.2.0.10\n"
      "  epif redirect --proxy 10.1.0.2:1080 --capture 10.2.0.0/16 --gateway --exclude 10.2.7.0/24\n"
      "  epif redirect --observe --for 3600 --out draft.yaml\n"
      "  epif redirect --uninstall");
  command->callback([arguments, command, port, &exit] {
    arguments->command = command->remaining();
    arguments->listen_port_given = port->count() > 0;
    exit = run(*arguments);
  });
}

}  // namespace epif::app
