#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <memory>

#include "command.h"
#include "trace/node_view.h"

namespace epif::app {
namespace {

struct TraceArguments {
  std::string destination;
  std::vector<std::string> routes, admins, agents;
  std::string state = "/run/epif";
  std::string user, cgroup, from;
  bool udp = false;
  bool connect = false;
  std::string output = "text";
};

/// DEST or DEST:PORT; an IPv6 address with a port stands in brackets.
Result<Destination> parse_destination(const std::string& text) {
  if (auto address = IpAddress::parse(text)) return Destination{address->unmapped(), 0};
  if (!text.contains(':') && !text.empty()) return Destination{text, 0};
  auto whole = Destination::parse(text);
  if (!whole) return fail(Code::usage, "bad destination", text, whole.error().text(), "DEST or DEST:PORT, IPv6 with a port in brackets");
  return whole;
}

/// Absent if neither is given. What is not given fits no route that asks for it.
Result<std::optional<redirect::Program>> program_of(const std::string& user, const std::string& cgroup) {
  if (user.empty() && cgroup.empty()) return std::optional<redirect::Program>{};
  redirect::Program program;
  program.user = ~0u;  // nobody's number: setuid() takes it for none
  program.cgroup = cgroup.starts_with('/') ? cgroup.substr(1) : cgroup;
  if (user.empty()) return std::optional(program);
  const auto* const end = user.data() + user.size();
  if (const auto read = std::from_chars(user.data(), end, program.user); read.ec == std::errc{} && read.ptr == end) return std::optional(program);
  const auto* account = ::getpwnam(user.c_str());
  if (account == nullptr) return fail(Code::not_found, "no such user on this node", "--user " + user);
  program.user = account->pw_uid;
  return std::optional(program);
}

Exit run(const TraceArguments& arguments) {
  if (::geteuid() != 0) {
    return report({Code::permission, "cannot read the rules of this node", "epif trace", "not root", "run it as root"});
  }
  constexpr std::string_view scheme = "unix:";
  trace::Places places{arguments.routes, {}, arguments.agents, arguments.state};
  for (const auto& admin : arguments.admins) {
    if (!admin.starts_with(scheme)) return report({Code::usage, "expected unix:PATH", "--admin " + admin, "", ""});
    places.admins.push_back(admin.substr(scheme.size()));
  }
  auto destination = parse_destination(arguments.destination);
  if (!destination) return report(destination.error());
  auto who = program_of(arguments.user, arguments.cgroup);
  if (!who) return report(who.error());
  auto view = trace::look_around(places);
  if (!view) return report(view.error());
  trace::Question question{std::move(*destination), arguments.udp ? Protocol::udp : Protocol::tcp, std::move(*who), arguments.from};
  auto answer = trace::walk(question, *view, trace::real_looks(arguments.connect));
  if (!answer) return report(answer.error());
  answer->refusals = trace::recent_refusals(*view, places.admins, answer->destination);
  std::fputs((arguments.output == "json" ? trace::print_json(*answer) : trace::print_text(*answer)).c_str(), stdout);
  return answer->verdict == trace::Verdict::refused ? Exit::answer_is_no : Exit::done;
}

}  // namespace

void add_trace(CLI::App& root, Exit& exit) {
  auto arguments = std::make_shared<TraceArguments>();
  auto* command = root.add_subcommand("trace", "Say hop by hop what would happen to a connection from this node, and why");
  command->add_option("destination", arguments->destination, "DEST or DEST:PORT: an address, or a name that a route has")->required();
  command->add_option("--routes", arguments->routes, "routes.json of a redirector or proxy here; repeats (default: those of the agents here)")->allow_extra_args(false);
  command->add_option("--admin", arguments->admins, "unix:PATH of the process that serves the --routes before it; repeats")->allow_extra_args(false);
  command->add_option("--agent", arguments->agents, "An agent's state folder; repeats (default: all in /var/lib/epif)")->allow_extra_args(false);
  command->add_option("--state", arguments->state, "The redirector's folder, in standalone use")->capture_default_str();
  command->add_option("--user", arguments->user, "As this user's program, where routes select by user");
  command->add_option("--cgroup", arguments->cgroup, "As a program in this cgroup (its path below the cgroup2 mount), where routes select by cgroup");
  command->add_option("--from", arguments->from, "On a proxy's host: as this DOMAIN/NODE or address asks the proxy (default: each that has a route)");
  command->add_flag("--udp", arguments->udp, "A datagram, not a connection");
  command->add_flag("--connect", arguments->connect, "Try to connect to proxies, and to the destination from the last one");
  command->add_option("-o,--output", arguments->output, "text or json")->check(CLI::IsMember({"text", "json"}))->capture_default_str();
  command->footer(
      "Exit: 0 it would pass (or is not captured), 3 it would be refused, 1 failed, 2 the arguments are wrong.\n"
      "Examples:\n"
      "  epif trace 10.2.0.20:4242\n"
      "  epif trace pacs.example:4242 --connect\n"
      "  epif trace 10.2.0.20:4242 --from umc/modality\n"
      "  epif trace 10.2.0.20:80 --routes routes.json --admin unix:/run/epif/redirect.sock -o json");
  command->callback([arguments, &exit] { exit = run(*arguments); });
}

}  // namespace epif::app
