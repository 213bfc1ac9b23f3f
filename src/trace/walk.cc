#include "trace/walk.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/routing.h"
#include "nginx/served.h"

namespace epif::trace {
namespace {

constexpr int most_proxies = 8;

std::string until(std::chrono::sys_seconds expires) {
  if (expires == std::chrono::sys_seconds{}) return "without an end";
  return fmt::format("until {:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(expires)));
}

bool covers(const CaptureTarget& target, const SocketAddress& wanted) {
  return target.block.contains(wanted.ip.unmapped()) && target.ports.contains(wanted.port);
}
const CaptureTarget* covering(const std::vector<CaptureTarget>& targets, const SocketAddress& wanted) {
  const auto at = std::ranges::find_if(targets, [&](const CaptureTarget& target) { return covers(target, wanted); });
  return at == targets.end() ? nullptr : &*at;
}

/// What a route is, for the reader and as fields.
Hop route_hop(std::string_view who, const Route& route) {
  Hop hop{"route", State::passes, {}, {}};
  hop.says = fmt::format("{} has route {} ({}) for it, {}, {}.", who, route.id.empty() ? "of its flags" : route.id, route.flow,
                         route.policy.empty() ? std::string("which names no policy")
                                              : fmt::format("permitted by policy {} {}", route.policy, route.policy_version),
                         until(route.expires));
  hop.facts = {{"route", route.id}, {"flow", route.flow}, {"destination", route.destination.text()}, {"policy", route.policy},
               {"policy_version", route.policy_version}, {"purpose", route.purpose}, {"expires", until(route.expires)}};
  std::erase_if(hop.facts, [](const auto& fact) { return fact.second.empty(); });
  return hop;
}

/// Of a route that NGINX does not serve now.
std::string why_not_served(const Route& route) {
  if (!route.blocked.empty()) return route.blocked;
  if (route.nginx->clients.empty()) return fmt::format("its route {} lets in no client", route.id);
  return fmt::format("its route {} was good {}", route.id, until(route.expires));
}

class Walk {
 public:
  Walk(const Question& question, const View& view, const Looks& looks, SocketAddress wanted)
      : question_(question), view_(view), looks_(looks), wanted_(wanted), asked_{wanted.ip, wanted.port} {
    answer_.destination = wanted.text();
    answer_.protocol = question.protocol;
  }

  Answer go() {
    if ((!question_.from.empty() || view_.guards.empty()) && at_proxies()) return std::move(answer_);
    if (by_nginx()) return std::move(answer_);
    const auto* guard = capture();
    if (guard == nullptr) return std::move(answer_);
    const auto* own = redirectors_table(*guard);
    if (own == nullptr) {
      standalone(*guard);
      return std::move(answer_);
    }
    if (!in_force(*own, "route", "the redirector")) return std::move(answer_);
    auto users = own->routes;
    const auto unknown = redirect::resolve_users(users);
    static_cast<void>(unknown);  // they fit nobody, as in the redirector
    const redirect::Routes routes(std::move(users));
    const auto* who = question_.who ? &*question_.who : nullptr;
    auto route = routes.find({wanted_, question_.protocol, who}, view_.now);
    if (!route) {
      refuse({"route", State::refuses, "The redirector resets it: " + route.error().text() + ".", {{"reason", std::string(name(route.error().code))}}});
      return std::move(answer_);
    }
    answer_.hops.push_back(route_hop("The redirector", **route));
    // A named destination: the address is only this node's alias for it.
    if (!(*route)->name.empty()) asked_.host = (*route)->name;
    follow(**route, own->routes.node);
    return std::move(answer_);
  }

 private:
  void refuse(Hop hop) {
    answer_.verdict = Verdict::refused;
    answer_.hops.push_back(std::move(hop));
  }
  void say(std::string hop, State state, std::string says) { answer_.hops.push_back({std::move(hop), state, std::move(says), {}}); }

  /// Says so where the file is not what its process has; false if it says nothing at all of the routes.
  bool in_force(const Table& table, const char* hop, std::string_view who) {
    if (!table.malformed.empty()) {
      say(hop, State::unknown, fmt::format("The file is malformed ({}); {} goes on with generation {}, whose routes cannot be seen here.", table.malformed,
                                           who, *table.serves));
      return false;
    }
    if (table.serves && *table.serves != table.routes.generation) {
      say(hop, State::unknown, fmt::format("{} is generation {}, but {} has generation {}: what follows is the file's, and not in force.", table.file,
                                           table.routes.generation, who, *table.serves));
    }
    return true;
  }

  /// What the kernel sends to NGINX passes no redirector, and needs none that runs.
  bool by_nginx() {
    if (question_.protocol != Protocol::tcp) return false;
    for (const auto& guard : view_.guards) {
      if (covering(guard.excluded, wanted_) != nullptr || covering(guard.targets, wanted_) == nullptr) continue;
      const auto* own = redirectors_table(guard);
      if (own == nullptr) return false;
      for (const auto& [server, nginx] : redirect::Routes(own->routes).diversions(view_.now)) {
        if (server == wanted_) return carried_by_nginx(guard, own->routes, nginx);
      }
      return false;
    }
    return false;
  }

  bool carried_by_nginx(const leak::Guard& guard, const RouteTable& table, const SocketAddress& nginx) {
    const auto route = std::ranges::find_if(table.routes, [&](const Route& one) {
      return one.nginx && one.nginx->listen == nginx && covers(one.destination, wanted_);
    });
    answer_.hops.push_back({"capture", State::passes,
                            fmt::format("The kernel sends it to NGINX at {}; no program of ours is on its way.", nginx.text()),
                            {{"listen_port", std::to_string(guard.listen_port)}, {"nginx", nginx.text()}}});
    answer_.hops.push_back(route_hop("The redirector's table", *route));
    if (!route->name.empty()) asked_.host = route->name;
    if (!tried("proxy", nginx, "NGINX at " + nginx.text())) return true;
    const auto* there = nginxs_table(nginx, table);
    if (there == nullptr) {
      say("proxy", State::unknown, fmt::format("NGINX at {} lets this node in and connects to {}; its routes are on the proxy's host.",
                                               nginx.text(), asked_.text()));
    } else if (const auto* served = served_by_nginx(*there, *route, looks_.address_towards(wanted_.ip))) {
      upstream(*served, fmt::format("NGINX at {}", nginx.ip.text()), true);
    }
    return true;
  }

  /// The proxy node's own table. Redirectors name the same port, each client in its own table; only the proxy's says who may come.
  [[nodiscard]] const RouteTable* nginxs_table(const SocketAddress& nginx, const RouteTable& redirectors) const {
    const auto listens = [&](const Route& route) { return route.nginx && route.nginx->listen == nginx; };
    const auto at = std::ranges::find_if(view_.tables, [&](const Table& table) {
      if (&table.routes == &redirectors || (!redirectors.node.empty() && table.routes.node == redirectors.node)) return false;
      const auto takes = [&](const Route& route) { return listens(route) && (table.role == Role::proxy || !route.peers.empty()); };
      return std::ranges::any_of(table.routes.routes, takes);
    });
    return at == view_.tables.end() ? nullptr : &at->routes;
  }

  /// The route of `table` for the same flow as the client's `asked`. By its id, since with a name the client's address may be an
  /// alias; in tables that were written by hand ids may differ, and the server's address tells.
  [[nodiscard]] const Route* counterpart(const RouteTable& table, const Route& asked) const {
    const auto& nginx = asked.nginx->listen;
    const auto at_its_port = [&](const Route& one) { return one.nginx && one.nginx->listen == nginx; };
    const auto same_server = [&](const Route& one) { return nginx::server_of(one) == wanted_; };
    const auto same_name = [&](const Route& one) { return !one.name.empty() && one.name == asked.name; };
    const auto same_flow = [&](const Route& one) { return at_its_port(one) && one.id == asked.id && (same_server(one) || same_name(one)); };
    auto at = std::ranges::find_if(table.routes, same_flow);
    if (at == table.routes.end()) {
      at = std::ranges::find_if(table.routes, [&](const Route& one) { return at_its_port(one) && same_server(one); });
    }
    return at == table.routes.end() ? nullptr : &*at;
  }

  /// The route of `table` that NGINX follows for the client's `asked`; null if the connection is refused there. `here`: the client's
  /// address, where it is known: that of the program's socket, which it has before the kernel leads the connection to NGINX.
  const Route* served_by_nginx(const RouteTable& table, const Route& asked, const std::optional<IpAddress>& here) {
    const auto& nginx = asked.nginx->listen;
    const auto refused = [&](const std::string& why) -> const Route* {
      refuse({"proxy", State::refuses, fmt::format("NGINX at {} refuses it: {}.", nginx.text(), why), {{"nginx", nginx.text()}}});
      return nullptr;
    };
    const auto* route = counterpart(table, asked);
    if (route == nullptr) return refused(fmt::format("its table leads no client of this port to {}", asked_.text()));
    if (!nginx::is_served(*route, view_.now)) return refused(why_not_served(*route));
    std::vector<std::string> clients;
    for (const auto& client : route->nginx->clients) clients.push_back(client.text());
    const auto let_in = fmt::format("{}", fmt::join(clients, ", "));
    if (here && std::ranges::find(route->nginx->clients, *here) == route->nginx->clients.end()) {
      return refused(fmt::format("it lets in {}, and this node comes from {}", let_in, here->text()));
    }
    auto hop = route_hop("NGINX at " + nginx.text(), *route);
    hop.hop = "proxy";
    hop.says += fmt::format(" It lets in {} and carries {}.", let_in, route->nginx->http ? "HTTP, request by request" : "bytes");
    hop.facts.insert(hop.facts.end(), {{"nginx", nginx.text()}, {"clients", let_in}, {"upstream", nginx::server_of(*route).text()}});
    answer_.hops.push_back(std::move(hop));
    return route;
  }

  /// False if no proxy's table lies here.
  bool at_proxies() {
    bool any = false;
    for (const auto& table : view_.tables) {
      if (table.role != Role::proxy) continue;
      any = true;
      at_proxy(table);
    }
    return any;
  }

  void at_proxy(const Table& table) {
    const auto label = table.routes.node.empty() ? "of " + table.file : table.routes.node;
    if (!table.admin.empty() && !table.answers) {
      return refuse({"proxy", State::refuses, fmt::format("Proxy {} does not run (its admin socket is silent).", label), {}});
    }
    if (!in_force(table, "proxy", "proxy " + label)) return;
    if (question_.destination.is_name()) {
      asked_.host = question_.destination.host;
      answer_.destination = asked_.text();
    }
    const auto routing = Routing::of(table.routes);
    bool known = false;
    for (const auto& route : table.routes.routes) {
      if (route.protocol != question_.protocol || !leads_to(route, asked_)) continue;
      for (const auto& asker : askers(route)) {
        known = true;
        if (question_.from.empty() && is_seen_proxy(asker.identity)) continue;  // that one's walk leads here
        for_asker(*routing, route, asker, label);
      }
    }
    if (known) return;
    const auto refused = routing->find(named_asker(), asked_, view_.now);
    const bool says_why = !question_.from.empty() || (!refused && refused.error().code == Code::denied);
    refuse({"proxy", State::refuses, says_why && !refused ? fmt::format("Proxy {} refuses it: {}.", label, refused.error().text())
                                                          : fmt::format("Proxy {} has no route there: it refuses whoever asks.", label), {}});
  }

  [[nodiscard]] Asker named_asker() const {
    if (const auto address = IpAddress::parse(question_.from)) return {{}, *address, {}, question_.protocol};
    return {question_.from, {}, {}, question_.protocol};
  }

  /// Who may come by this route, or the one that was named if it may.
  [[nodiscard]] std::vector<Asker> askers(const Route& route) const {
    std::vector<Asker> all;
    if (!question_.from.empty()) {
      auto asker = named_asker();
      asker.flow = route.id;
      const bool by_nginx = route.nginx && std::ranges::find(route.peers, asker.identity) != route.peers.end();
      if (by_nginx || admits(route, asker)) all.push_back(std::move(asker));
      return all;
    }
    for (const auto& peer : route.peers) all.push_back({peer, {}, route.id, question_.protocol});
    for (const auto& block : route.sources) all.push_back({{}, block.address, route.id, question_.protocol});
    return all;
  }

  [[nodiscard]] bool is_seen_proxy(const Identity& identity) const {
    return !identity.empty() && std::ranges::any_of(view_.tables, [&](const Table& table) {
      return table.role == Role::proxy && table.routes.node == identity;
    });
  }

  void for_asker(const Routing& routing, const Route& route, const Asker& asker, const std::string& label) {
    if (route.nginx) {
      const auto& nginx = route.nginx->listen;
      const auto* served = served_by_nginx(routing.table(), route, {});
      if (served != nullptr) upstream(*served, fmt::format("NGINX at {}", nginx.ip.text()), true);
      return;
    }
    const auto who = asker.identity.empty() ? asker.address.text() : asker.identity;
    if (const auto taken = taken_by(routing, asker, fmt::format("{}, asked by {},", label, who))) {
      last_seen_ = true;
      follow(*taken, routing.table().node);
    }
  }

  /// The route by which the proxy takes the connection, once its functions answer; nothing if it is refused there.
  std::optional<Route> taken_by(const Routing& routing, const Asker& asker, const std::string& label) {
    auto found = routing.find(asker, asked_, view_.now);
    if (!found) {
      refuse({"proxy", State::refuses, fmt::format("Proxy {} refuses it: {}.", label, found.error().text()), {{"reason", std::string(name(found.error().code))}}});
      return {};
    }
    auto hop = route_hop("Proxy " + label, **found);
    hop.hop = "proxy";
    if (!asker.identity.empty()) hop.facts.emplace_back("from", asker.identity);
    answer_.hops.push_back(std::move(hop));
    if (!chain(**found)) return {};
    return **found;
  }

  /// The guard that takes the connection; null if it leaves unseen or is refused at once.
  const leak::Guard* capture() {
    for (const auto& guard : view_.guards) {
      if (covering(guard.excluded, wanted_) != nullptr) {
        answer_.verdict = Verdict::not_captured;
        say("capture", State::passes, fmt::format("The redirector on port {} excludes it: it leaves this node directly, without any function.", guard.listen_port));
        return nullptr;
      }
      const auto* target = covering(guard.targets, wanted_);
      if (target == nullptr) continue;
      Hop hop{"capture", State::passes, {}, {{"listen_port", std::to_string(guard.listen_port)}, {"rule", target->text()}}};
      if (std::ranges::find(view_.running, guard.listen_port) == view_.running.end()) {
        hop.state = State::refuses;
        hop.says = fmt::format("The rules for {} capture it, but the redirector on port {} does not run: it is refused.", target->text(), guard.listen_port);
        refuse(std::move(hop));
        return nullptr;
      }
      hop.says = fmt::format("The rules for {} capture it for the redirector on port {}.", target->text(), guard.listen_port);
      answer_.hops.push_back(std::move(hop));
      return &guard;
    }
    answer_.verdict = Verdict::not_captured;
    say("capture", State::passes, view_.guards.empty() ? "No redirector has rules here: it leaves this node directly, without any function."
                                                       : "No rule covers it: it leaves this node directly, without any function.");
    return nullptr;
  }

  /// The table whose destinations the guard protects: of several that could be it, the one that says most. A guard without one is of
  /// a standalone redirector.
  [[nodiscard]] const Table* redirectors_table(const leak::Guard& guard) const {
    const Table* best = nullptr;
    std::size_t most = 0;
    for (const auto& table : view_.tables) {
      if (table.role != Role::redirector) continue;
      const auto targets = redirect::Routes(table.routes).targets();
      const auto is_guarded = [&](const CaptureTarget& target) { return std::ranges::find(guard.targets, target) != guard.targets.end(); };
      if (!std::ranges::all_of(targets, is_guarded) || (best != nullptr && targets.size() <= most)) continue;
      best = &table;
      most = targets.size();
    }
    return best;
  }

  void standalone(const leak::Guard& guard) {
    if (guard.own.empty()) {
      say("route", State::unknown, "The redirector's routes are not known here; name them with --routes.");
      return;
    }
    const auto& proxy = guard.own.front();
    const SocketAddress at{proxy.block.address, proxy.ports.first};
    say("route", State::passes, fmt::format("The redirector sends it to the proxy at {}, as its flags say (its routes, if it has any, are not known here).", at.text()));
    Route route;
    route.flow = "of the redirector's flags";
    route.next = NextHop{at, {}, {}};
    follow(route, {});
  }

  /// From one hop's route to the next proxy's, as long as this node can see their tables.
  void follow(Route route, std::string from) {
    for (int hops = 0; route.next && hops < most_proxies; ++hops) {
      const auto next = *route.next;
      const auto label = next.identity.empty() ? next.proxy.text() : fmt::format("{} at {}", next.identity, next.proxy.text());
      const auto* table = proxys_table(next);
      if (table == nullptr) {
        other_host(next, label, from);
        return;
      }
      if (!table->admin.empty() && !table->answers) {
        refuse({"proxy", State::refuses, fmt::format("Proxy {} does not run (its admin socket is silent): the connection fails.", label), {}});
        return;
      }
      if (!in_force(*table, "proxy", "proxy " + label)) return;
      if (!tried("proxy", next.proxy, label)) return;
      const auto address = looks_.address_towards(next.proxy.ip).value_or(next.proxy.ip);
      const Asker asker{next.identity.empty() ? Identity{} : from, address, route.id, question_.protocol};
      auto taken = taken_by(*Routing::of(table->routes), asker, label);
      if (!taken) return;
      from = table->routes.node;
      route = std::move(*taken);
      last_seen_ = true;
    }
    upstream(route, last_seen_ ? "The last proxy" : "The redirector itself", last_seen_);
  }

  [[nodiscard]] const Table* proxys_table(const NextHop& next) const {
    const auto fits = [&](const Table& table) {
      if (table.role != Role::proxy) return false;
      if (!next.identity.empty() && table.malformed.empty()) return table.routes.node == next.identity;
      const auto here = looks_.address_towards(next.proxy.ip);
      return here == next.proxy.ip;
    };
    const auto at = std::ranges::find_if(view_.tables, fits);
    return at == view_.tables.end() ? nullptr : &*at;
  }

  void other_host(const NextHop& next, const std::string& label, const std::string& from) {
    const auto reached = tried("proxy", next.proxy, label);
    if (!reached) return;
    const auto how = *reached == Reached::answers   ? "answers"
                     : *reached == Reached::unasked ? "was not tried (ask with --connect)"
                                                    : "cannot be tried from here, since the rules of this node capture it";
    say("proxy", State::unknown, fmt::format("Proxy {} {}; its routes are on another host: ask there with `epif trace{}`.", label, how,
                                             from.empty() || next.identity.empty() ? std::string() : " --from " + from));
  }

  enum class Reached { answers, unasked, captured };
  /// Nothing if it cannot be reached, which is said. A connection of ours that the rules would capture tells nothing of its far end.
  std::optional<Reached> tried(const char* hop, const SocketAddress& to, const std::string& label) {
    if (!looks_.connects) return Reached::unasked;
    std::uint32_t mark = 0;
    for (const auto& guard : view_.guards) {
      if (covering(guard.excluded, to) != nullptr || covering(guard.targets, to) == nullptr) continue;
      if (guard.mark == 0 || covering(guard.own, to) == nullptr) return Reached::captured;
      mark = guard.mark;
    }
    auto connected = looks_.connects(to, mark);
    if (connected) return Reached::answers;
    refuse({hop, State::refuses, fmt::format("{} cannot be reached: {}.", label, connected.error().text()), {}});
    return {};
  }

  bool chain(const Route& route) {
    for (const auto& link : route.chain) {
      Hop hop{"function", State::passes, {}, {{"function", link.function}, {"instance", link.instance}, {"socket", link.socket}}};
      auto alive = looks_.function_answers(link);
      if (!alive) {
        hop.state = State::refuses;
        hop.says = fmt::format("Function {} ({}) does not answer: {}; the connection is refused.", link.function, link.instance, alive.error().text());
        refuse(std::move(hop));
        return false;
      }
      hop.says = fmt::format("Function {} ({}) takes part; its socket answers.", link.function, link.instance);
      answer_.hops.push_back(std::move(hop));
    }
    return true;
  }

  /// `by_proxy`: a proxy whose table this node sees; its server may be tried from here.
  void upstream(const Route& route, std::string_view who, bool by_proxy) {
    const bool udp = question_.protocol == Protocol::udp;
    const auto& block = route.destination.block;
    const bool one = block.prefix == (block.address.is_v6() ? 128 : 32);
    const auto server = one ? SocketAddress{block.address, wanted_.port} : wanted_;
    const bool resolves = by_proxy && !one && asked_.is_name();  // as the proxy does (onward/upstream.h)
    std::string_view how = "that was not tried";
    if (resolves) {
      how = "at the address that its own resolver gives, which was not asked";
    } else if (by_proxy && looks_.connects && udp) {
      how = "that was not tried: a connection tells nothing of datagrams";
    } else if (by_proxy && looks_.connects) {
      const auto reached = tried("upstream", server, server.text());
      if (!reached) return;
      how = *reached == Reached::answers ? "it answers from here" : "whether it answers cannot be known from here, since the rules of this node capture it";
    }
    say("upstream", State::passes, fmt::format("{} {} {} ({}; data may go {}).", who, udp ? "sends to" : "connects to", resolves ? asked_.text() : server.text(), how,
                                               route.data == DataDirection::both ? "both ways" : route.data == DataDirection::push ? "to the server" : "to the client"));
  }

  const Question& question_;
  const View& view_;
  const Looks& looks_;
  SocketAddress wanted_;
  Destination asked_;  ///< what the first proxy is asked for
  Answer answer_;
  bool last_seen_ = false;
};

}  // namespace

std::string_view name(State state) {
  constexpr std::array<std::string_view, 3> names{"passes", "refuses", "unknown"};
  return names[static_cast<std::size_t>(state)];
}
std::string_view name(Verdict verdict) {
  constexpr std::array<std::string_view, 3> names{"would pass", "would be refused", "not captured"};
  return names[static_cast<std::size_t>(verdict)];
}

Result<Answer> walk(const Question& question, const View& view, const Looks& looks) {
  const auto is_proxys = [](const Table& table) { return table.role == Role::proxy; };
  if (!question.from.empty() && std::ranges::none_of(view.tables, is_proxys)) {
    return fail(Code::not_found, "no proxy's routes are seen here", "--from " + question.from, {}, "name them by --agent or --routes");
  }
  auto wanted = resolve(question, view);
  if (!wanted) return fail(std::move(wanted.error()));
  return Walk(question, view, looks, *wanted).go();
}

}  // namespace epif::trace
