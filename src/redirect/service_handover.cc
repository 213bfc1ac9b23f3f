#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <utility>

#include "base/log.h"
#include "net/descriptors.h"
#include "redirect/running.h"
#include "redirect/service.h"

// Restart without loss: a redirector takes the place of another, and gives it to the next.
namespace epif::redirect {
namespace {

constexpr std::string_view claim_word = "claim";
constexpr std::string_view dns_claim_word = "dns-claim";
constexpr std::string_view dns_port_word = "dns-port ";
constexpr std::string_view own_word = "own ";
constexpr std::string_view own_datagrams_word = "own-datagrams ";

Result<> take_target(std::string_view text, std::vector<CaptureTarget>& into) {
  auto target = CaptureTarget::parse(text);
  if (!target) return fail(std::move(target.error()));
  into.push_back(*target);
  return {};
}

std::uint32_t number_in(std::string_view text, std::uint32_t otherwise) {
  std::uint32_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc{} && end == text.data() + text.size() ? number : otherwise;
}

}  // namespace

Result<> Service::inherit() {
  auto got = net::take_over(*loop_, capture_.state_file(".handover"));
  if (!got) {
    auto error = std::move(got.error());
    if (error.advice.empty()) {
      error.advice = "--take-over wants a running redirector with the same --listen-port and --state, and without --exec; without one, start without it";
    }
    return fail(std::move(error));
  }
  predecessor_ = std::move(got->predecessor);
  auto sockets = take_sockets(got->things);
  if (!sockets) return fail(std::move(sockets.error()));
  inherited_ = std::move(*sockets);
  std::uint32_t dns_port = 0;
  for (auto& thing : got->things) {
    const std::string_view what = thing.what;
    Result<> taken;
    if (what == claim_word) claim_ = std::move(thing.descriptor);
    else if (what == tells_limits_word) predecessor_tells_ = true;
    else if (what == dns_claim_word) dns_claim_ = std::move(thing.descriptor);
    else if (what.starts_with(dns_port_word)) dns_port = number_in(what.substr(dns_port_word.size()), 0);
    else if (what.starts_with(own_word)) taken = take_target(what.substr(own_word.size()), predecessors_own_);
    else if (what.starts_with(own_datagrams_word)) taken = take_target(what.substr(own_datagrams_word.size()), predecessors_own_datagrams_);
    // What a later version hands over besides is not needed to serve as this one does.
    else inherited_things_.push_back(std::move(thing));
    if (!taken) return taken;
  }
  const auto where = fmt::format("port {}", options_.settings.listen_port);
  if (inherited_.empty() || !claim_) return fail(Code::protocol, "the running redirector hands over no sockets", where);
  auto& settings = options_.settings;
  const auto threads = static_cast<unsigned>(inherited_.size());
  if (settings.threads == 0) settings.threads = threads;
  if (settings.threads != threads) {
    return fail(Code::conflict, fmt::format("the running redirector has {} threads, this one {}", threads, settings.threads), where,
                "each thread has its own sockets", fmt::format("start with --threads {}, or without", threads));
  }
  if (settings.dns_port != dns_port) {
    return fail(Code::conflict, fmt::format("the running redirector takes DNS at port {}, this one at {}", dns_port, settings.dns_port),
                where, {}, fmt::format("start with --dns-port {}", dns_port));
  }
  return {};
}

/// Without the hook all is as before, only slower. What a predecessor's has led, and leads until it steps aside, must arrive in any case.
void Service::make_stand_ins() {
  auto things = std::exchange(inherited_things_, {});
  auto& settings = options_.settings;
  auto inherited = StandIns::take(things);
  const bool shares = inherited.has_value();
  std::optional<net::StandInMaps::Descriptors> spare;
  if (shares) {
    if (auto copied = inherited->copies()) spare = std::move(*copied);
  }
  const auto by_rules_alone = [&](std::string_view why) {
    if (options_.connect_hook) log::info("redirect", "connections come by address translation alone", {{"why", std::string(why)}});
    if (spare) settings.stand_ins = StandIns::after(net::StandInMaps(std::move(*spare)));
  };
  if (!options_.connect_hook) return by_rules_alone("--connect-hook off");
  // A predecessor without stand-ins has no listeners for them. One for each thread; where none is inherited one as a trial.
  std::vector<Fd> listeners;
  for (std::size_t n = 0; !shares && n < std::max<std::size_t>(inherited_.size(), 1); ++n) {
    auto listener = listen_for_stand_ins(settings.listen_port);
    if (!listener) return by_rules_alone(listener.error().text());
    listeners.push_back(std::move(*listener));
  }
  auto made = StandIns::start({settings.listen_port, settings.mark}, programs_, std::move(inherited));
  if (!made) return by_rules_alone(made.error().text());
  settings.stand_ins = std::move(*made);
  if (shares) return;
  for (std::size_t n = 0; n < inherited_.size(); ++n) inherited_[n].connections.push_back(std::move(listeners[n]));
}

Result<> Service::take_place() {
  // All that may fail comes before a predecessor steps aside.
  if (auto watched = watch(); !watched) return watched;
  if (options_.take_over) {
    if (auto room = net::room_to_serve(); !room) return room;
    auto redirector = Redirector::start(options_.settings, routes_, std::move(inherited_));
    if (!redirector) return fail(std::move(redirector.error()));
    const std::lock_guard lock(redirector_mutex_);
    redirector_ = std::move(*redirector);
  }
  offer();
  if (!predecessor_) {
    if (paths_) paths_->stay();
    return {};
  }
  auto placed = net::announce_and_wait(*loop_, *predecessor_, fmt::format("{}", options_.drain_s));
  if (!placed) return placed;
  hearing_.emplace(*options_.settings.forwarded);
  if (predecessor_tells_) net::say(*predecessor_, ask_limits_words);
  net::spawn(follow_predecessor());
  // Only now: the predecessor might have gone on, and with it paths and claims.
  for (const auto* claimed : {&claim_, &dns_claim_}) {
    if (!*claimed) continue;
    if (auto renewed = renew_claim(*claimed); !renewed) log::error("redirect", renewed.error());
  }
  if (paths_) paths_->stay();
  if (!paths_) net::remove_mptcp_paths(capture_.state_file(".mptcp"));  // the predecessor leaves them to this one
  hear_limits();
  if (stage_ != Stage::handed_over) redirector_->hear();  // a successor may have come while this one waited
  return {};
}

/// Until then connections wait in the listening sockets' queues: a host that is served before could have its share twice.
void Service::hear_limits() {
  if (!predecessor_tells_) return;
  const auto until = net::Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms);
  while (!predecessor_gone_ && !hearing_->told()) {
    const auto left = until - net::Clock::now();
    if (left <= left.zero()) break;
    loop_->run_once(std::chrono::ceil<std::chrono::milliseconds>(left));
  }
  if (predecessor_gone_ || hearing_->told()) return;
  log::warn("redirect", "the old process has not told what forwarded hosts hold; their limits begin anew until it does");
}

/// A command's process cannot be handed over, so a redirector with --exec offers nothing.
void Service::offer() {
  auto things = redirector_->take_copies();
  if (!options_.command.empty()) return;
  const auto path = capture_.state_file(".handover");
  auto listener = options_.take_over ? net::succeed_unix(path, SOCK_SEQPACKET) : net::listen_unix(path, SOCK_SEQPACKET);
  if (!listener) {
    log::warn("redirect", "no successor can take over from this process", {{"why", listener.error().text()}});
    return;
  }
  for (const auto& [word, claimed] : {std::pair{claim_word, &claim_}, std::pair{dns_claim_word, &dns_claim_}}) {
    if (*claimed) things.push_back({std::string(word), Fd(::fcntl(claimed->get(), F_DUPFD_CLOEXEC, 0))});
  }
  if (options_.settings.stand_ins) {
    auto copies = options_.settings.stand_ins->copies();
    if (copies) std::ranges::move(*copies, std::back_inserter(things));
    else log::error("redirect", copies.error());
  }
  things.push_back({fmt::format("{}{}", dns_port_word, options_.settings.dns_port), Fd()});
  things.push_back({std::string(tells_limits_word), Fd()});
  telling_.emplace(*loop_, *options_.settings.forwarded);
  net::Handover::Calls calls;
  calls.more = [this] {
    std::vector<net::Handed> now;
    for (const auto& own : capture_.rules().own) now.push_back({std::string(own_word) + own.text(), Fd()});
    for (const auto& own : capture_.rules().own_datagrams) now.push_back({std::string(own_datagrams_word) + own.text(), Fd()});
    return now;
  };
  calls.asked = [this] {
    if (stage_ != Stage::serving) return;
    stage_ = Stage::asked;
    if (options_.settings.stand_ins) options_.settings.stand_ins->pause(true);
  };
  calls.abandoned = [this] { resume(); };
  calls.serving = [this](std::string_view words) { step_aside(words); };
  calls.said = [this](std::string_view words) { telling_->heard(words); };
  calls.gone = [this] { telling_->end(); };
  calls.stopped = [this] {
    dismissed_ = true;
    finish(0);
  };
  handover_ = std::make_unique<net::Handover>(*loop_, std::move(*listener), path, std::move(things), std::move(calls));
}

/// The successor went away before it served; the rules may be as it wished them.
void Service::resume() {
  if (stage_ != Stage::asked) return;
  stage_ = Stage::serving;
  if (auto back = capture_.reinstate(); !back) log::error("redirect", back.error());
  if (options_.settings.stand_ins) {
    options_.settings.stand_ins->forget();
    options_.settings.stand_ins->pause(false);
  }
  settle();
}

void Service::step_aside(std::string_view words) {
  stage_ = Stage::handed_over;
  // Before the successor goes on: whoever stops it from then on is to find this process as well.
  auto draining = claim_draining(options_.settings.listen_port);
  if (draining) draining_claim_ = std::move(*draining);
  else log::error("redirect", draining.error());
  retry_.cancel();
  expiry_.cancel();
  if (paths_) paths_->leave();
  redirector_->hand_over();
  if (options_.settings.stand_ins) options_.settings.stand_ins->end();
  handover_->close();
  telling_->await(*handover_);
  claim_.reset();
  dns_claim_.reset();
  net::show_draining();
  const std::chrono::seconds patience(number_in(words, limits::handover_drain_s));
  log::info("redirect", "a successor serves; what is carried here goes on", {{"seconds", std::to_string(patience.count())}});
  expect_routes();
  drain(net::Clock::now() + patience);
}

/// What drains is asked by nobody how it is, so a table that it cannot read would let revoked flows go on to their end.
void Service::expect_routes() {
  if (stage_ != Stage::handed_over || !unread_ || blind_.armed()) return;
  blind_ = loop_->after(std::chrono::milliseconds(limits::unread_routes_ms), [this] {
    log::error("redirect", Error{Code::denied, "the routes stay unreadable, and nobody can say what they still permit",
                                 options_.routes_file, {}, "all flows that drain are cut"});
    apply(Routes(RouteTable{}));
  });
}

void Service::drain(net::TimePoint deadline) {
  // While a predecessor still carries flows, the successor knows of their ways by this process alone.
  const bool needed = !predecessors_own_.empty() || !predecessors_own_datagrams_.empty();
  if ((needed || telling_->is_due() || !redirector_->idle()) && net::Clock::now() < deadline) {
    retry_ = loop_->after(std::chrono::milliseconds(limits::handover_look_ms), [this, deadline] { drain(deadline); });
    return;
  }
  if (const auto left = redirector_->stats(false).active; left > 0) {
    log::warn("redirect", "cutting flows that did not end in time", {{"connections", std::to_string(left)}});
  }
  finish(0);
}

/// Once it has ended, its flows' ways are shut, and they count no more.
net::Task<void> Service::follow_predecessor() {
  for (;;) {
    auto message = co_await net::receive_given(*predecessor_);
    if (!message && message.error().code == Code::internal) co_return;  // this process ends
    if (!message) break;
    auto taken = message->truncated ? Result<>(fail(Code::protocol, "a message was cut short")) : hearing_->take(as_text(message->bytes));
    if (!taken) log::error("redirect", taken.error(), {{"lost", "a part of what forwarded hosts hold in the old process"}});
  }
  predecessor_gone_ = true;
  hearing_->forget();
  predecessors_own_.clear();
  predecessors_own_datagrams_.clear();
  if (in_place_) settle();
}

}  // namespace epif::redirect
