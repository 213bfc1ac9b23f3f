#include "proxy/succession.h"

#include <charconv>

#include "base/log.h"
#include "net/told_limits.h"
#include "proxy/team.h"

namespace epif::proxy {
namespace {

using std::chrono::milliseconds;

// What a successor says besides (net::say). A predecessor of an earlier version hears nothing of it, and tells nothing.
constexpr std::string_view ask_words = "tell your state";
constexpr std::string_view ask_channels_words = "hear datagrams";  ///< before it
constexpr std::string_view ended_words = "session ended ";

/// To a successor that has asked: the channel for what finds no association in its thread of this number.
constexpr std::string_view channel_words = "datagrams of thread ";

net::Limiter& limiter_of(Shared& shared, Counted of) {
  switch (of) {
    case Counted::connections: break;
    case Counted::associations: return shared.associations;
    case Counted::next_associations: return shared.next_associations;
  }
  return shared.limiter;
}

/// A user who is none any more, or has another password, has no session any more; nor has who needed no password and now does.
bool still_admitted(const admission::Users& users, const admission::MovedSession& session) {
  if (session.owner.user.empty()) return !session.owner.identity.empty() || users.empty();
  return !session.proof.empty() && session.proof == users.proof(session.owner.user, session.id);
}

}  // namespace

Succession::Succession(net::Loop& loop, Shared& shared) : loop_(loop), shared_(shared) {
  shared_.sessions.on_teardown([this](const admission::SessionId& id) {
    loop_.post([this, id] { session_ended(id, Origin::here); });
  });
}

Succession::~Succession() {
  if (predecessor_) predecessor_->abort({Code::internal, "the proxy has stopped"});
}

Result<std::vector<Listening>> Succession::inherit(const std::string& path) {
  auto inheritance = net::take_over(loop_, path);
  if (!inheritance) {
    auto error = std::move(inheritance.error());
    if (error.advice.empty()) error.advice = "--take-over wants a running proxy with the same --admin; without one, start without it";
    return fail(std::move(error));
  }
  predecessor_ = std::move(inheritance->predecessor);
  std::vector<Listening> sockets;
  for (auto& thing : inheritance->things) {
    auto one = parse_listening(thing.what);
    if (!one) return fail(std::move(one.error()));
    if (!thing.descriptor) return fail(Code::protocol, "a socket was lost on its way from the running proxy", path);
    one->socket = std::move(thing.descriptor);
    sockets.push_back(std::move(*one));
  }
  return sockets;
}

Result<> Succession::serve(Team& team, const std::string& routes) {
  if (!predecessor_) return {};
  const bool fits = routes.size() <= net::announced_max_bytes;
  if (!fits) log::warn("proxy", "the old process keeps following its own routes: the path is too long to be told", {{"file", routes}});
  auto consents = net::announce_and_wait(loop_, *predecessor_, fits ? routes : std::string());
  if (!consents) return consents;
  net::say(*predecessor_, ask_channels_words);
  net::say(*predecessor_, ask_words);
  net::spawn(follow(*this, predecessor_, team));
  // Until then clients wait in the listening sockets' queues: whoever is served before could have its allowance twice.
  const auto begun = net::Clock::now();
  while (predecessor_ && !told_) {
    const auto left = begun + milliseconds(hears_ ? limits::handshake_deadline_ms : limits::handover_ask_ms) - net::Clock::now();
    if (left <= left.zero()) break;
    loop_.run_once(std::chrono::ceil<milliseconds>(left));
  }
  if (!predecessor_ || told_) return {};
  log::warn("proxy", "the old process has not told its state; sessions and limits by source begin anew until it does");
  return {};
}

void Succession::dismiss_predecessor() {
  if (predecessor_) net::dismiss(*predecessor_);
}

net::Task<void> Succession::follow(Succession& self, std::shared_ptr<net::SeqPacket> predecessor, Team& team) {
  Unpacking unpacking;
  for (;;) {
    auto message = co_await net::receive_given(*predecessor);
    if (!message) {
      // Code::internal: this process ends, and with it `self`.
      if (message.error().code == Code::internal) co_return;
      self.predecessor_.reset();
      for (const auto of : all_counted) limiter_of(self.shared_, of).forget_elsewhere();
      co_return;
    }
    auto taken = self.take(std::move(*message), unpacking, team);
    if (!taken) log::error("proxy", taken.error(), {{"lost", "a part of what the old process gives"}});
  }
}

Result<> Succession::take(net::SeqPacket::Message message, Unpacking& unpacking, Team& team) {
  const auto text = as_text(message.bytes);
  if (message.truncated) {  // descriptors are short, perhaps
    reset_all(message.descriptors);
    unpacking.spoil();
    return fail(Code::protocol, "a message was cut short");
  }
  if (is_told(text)) {
    hears_ = true;
    auto told = parse_told(text);
    if (!told) return fail(std::move(told.error()));
    return take_told(std::move(*told));
  }
  if (text.starts_with(channel_words)) return take_channel(text.substr(channel_words.size()), std::move(message.descriptors), team);
  auto moved = unpacking.take(text, std::move(message.descriptors));
  if (!moved) return fail(std::move(moved.error()));
  if (!*moved) return {};
  // Here and now: the next message may say that they hold nothing in the old process any more.
  for (auto& flow : (**moved).flows) {
    flow.place = shared_.limiter.readmit(flow.peer.ip);
    if (auto place = shared_.limiter.enter_route(flow.route.id, 0)) flow.route_place = std::move(*place);  // it had its place
  }
  return team.take(std::move(**moved));
}

Result<> Succession::take_channel(std::string_view number, std::vector<Fd> descriptors, Team& team) {
  std::size_t thread = 0;
  const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), thread);
  if (failure != std::errc{} || end != number.data() + number.size() || descriptors.size() != 1) {
    return fail(Code::protocol, "the old process gives a channel that is not understood");
  }
  return team.pass_datagrams(thread, std::move(descriptors.front()));
}

Result<> Succession::take_told(Told told) {
  if (const auto* counts = std::get_if<MovedCounts>(&told)) return limiter_of(shared_, counts->of).count_elsewhere(counts->held);
  if (const auto* moved = std::get_if<MovedRates>(&told)) return limiter_of(shared_, moved->of).follow_rates(moved->rates);
  if (auto* sessions = std::get_if<MovedSessions>(&told)) {
    Result<> outcome;
    const auto now = net::Clock::now();
    for (auto& session : *sessions) {
      if (!still_admitted(shared_.users, session)) continue;
      auto taken = shared_.sessions.take(std::move(session), now);
      if (!taken) outcome = fail(std::move(taken.error()));
    }
    return outcome;
  }
  if (const auto* ended = std::get_if<EndedSession>(&told)) session_ended(ended->id, Origin::predecessor);
  if (std::holds_alternative<StateTold>(told)) told_ = true;
  return {};
}

void Succession::offer(Fd listener, const std::string& path, std::vector<Listening> sockets, Team& team, Calls calls) {
  team_ = &team;
  std::vector<net::Handed> things;
  for (auto& one : sockets) things.push_back({print_listening(one), std::move(one.socket)});
  net::Handover::Calls told;
  told.serving = [this, serving = std::move(calls.serving)](std::string_view routes) {
    telling_ = Telling::awaits;
    asks_until_ = net::Clock::now() + milliseconds(limits::handover_ask_ms);
    // One of an earlier version never asks.
    look_ = loop_.after(milliseconds(limits::handshake_deadline_ms), [this] {
      if (telling_ == Telling::awaits) team_->let_go_of_datagrams();
    });
    serving(routes);
  };
  told.abandoned = std::move(calls.abandoned);
  told.stopped = std::move(calls.dismissed);
  told.said = [this](std::string_view words) { heard(words); };
  told.gone = [this, gone = std::move(calls.gone)] {
    if (telling_ != Telling::changes) team_->let_go_of_datagrams();  // otherwise the channels tell that it is gone
    telling_ = Telling::nothing;
    look_.cancel();
    gone();
  };
  handover_ = std::make_unique<net::Handover>(loop_, std::move(listener), path, std::move(things), std::move(told));
}

void Succession::close() {
  if (handover_) handover_->close();
}

void Succession::heard(std::string_view words) {
  if (words == ask_channels_words && telling_ == Telling::awaits) wants_channels_ = true;
  if (words == ask_words && telling_ == Telling::awaits) {
    telling_ = Telling::begins;
    net::spawn(tell_state(*this));
  }
  if (!words.starts_with(ended_words)) return;
  const auto bytes = from_hex(words.substr(ended_words.size()));
  admission::SessionId id{};
  if (bytes.size() != id.size()) return;
  std::ranges::copy(bytes, id.begin());
  session_ended(id, Origin::successor);
}

net::Task<void> Succession::tell_state(Succession& self) {
  // Asked behind the word to accept no more: when all threads have answered, what they accepted before it is counted.
  auto all = co_await self.team_->gather(self.loop_);
  static_cast<void>(all);
  if (self.telling_ != Telling::begins) co_return;  // it has gone away
  self.telling_ = Telling::changes;
  if (self.wants_channels_) {
    self.give_channels();
  } else {
    self.team_->let_go_of_datagrams();
  }
  const auto now = net::Clock::now();
  auto sessions = self.shared_.sessions.give(now);
  for (auto& session : sessions) session.proof = self.shared_.users.proof(session.owner.user, session.id);
  self.give(Told(std::move(sessions)));
  for (const auto of : all_counted) {
    auto& limiter = limiter_of(self.shared_, of);
    self.give(Told(MovedRates{of, limiter.rates(now)}));
    auto& last = self.last_told_[static_cast<std::size_t>(of)];
    last = limiter.held(now);
    self.give(Told(MovedCounts{of, last}));
  }
  self.give(Told(StateTold{}));
  self.tell_changes();
}

/// First of all, since no thread of the successor reads its ports before all is told.
void Succession::give_channels() {
  auto channels = team_->hear_datagrams();
  if (!channels) {
    log::error("proxy", channels.error(), {{"lost", "associations at the UDP port"}});
    return team_->let_go_of_datagrams();
  }
  for (std::size_t thread = 0; thread < channels->size(); ++thread) {
    Departing departing;
    auto& parcel = departing.parcels.emplace_back(std::string(channel_words) + std::to_string(thread), std::vector<Fd>());
    parcel.descriptors.push_back(std::move((*channels)[thread]));
    give(std::move(departing));
  }
}

/// What ends here makes room there; and what moves there is told there before it counts here no more.
void Succession::tell_changes() {
  look_ = loop_.after(milliseconds(limits::handover_look_ms), [this] { tell_changes(); });
  if (giving_) return;  // one at a time: a successor that does not read must not cost memory
  for (const auto of : all_counted) {
    auto& last = last_told_[static_cast<std::size_t>(of)];
    auto now = limiter_of(shared_, of).held();
    if (now == last) continue;
    give(Told(MovedCounts{of, net::changes(last, now)}));
    last = std::move(now);
  }
}

void Succession::session_ended(const admission::SessionId& id, Origin origin) {
  if (origin != Origin::here) shared_.sessions.end(id);
  if (origin != Origin::successor && telling_ == Telling::changes) give(Told(EndedSession{id}));
  if (origin != Origin::predecessor && predecessor_) net::say(*predecessor_, std::string(ended_words) + to_hex(id));
}

bool Succession::giving() const {
  const bool awaits = telling_ == Telling::awaits && net::Clock::now() < asks_until_;
  return giving_ || awaits || telling_ == Telling::begins;
}

void Succession::give(MovedFlows moved) {
  Departing departing;
  for (auto& flow : moved.flows) {
    departing.places.push_back(std::move(flow.place));
    departing.places.push_back(std::move(flow.route_place));
  }
  departing.parcels = pack(std::move(moved));
  give(std::move(departing));
}

void Succession::give(const Told& told) {
  Departing departing;
  for (auto& text : print_told(told)) departing.parcels.push_back({std::move(text), {}});
  give(std::move(departing));
}

void Succession::give(Departing departing) {
  departing_.push_back(std::move(departing));
  if (!std::exchange(giving_, true)) net::spawn(give_all(*this));
}

net::Task<void> Succession::give_all(Succession& self) {
  while (!self.departing_.empty()) {
    const auto departing = std::move(self.departing_.front());
    self.departing_.pop_front();
    Result<> given;
    for (const auto& parcel : departing.parcels) {
      if (given) given = co_await self.handover_->give(parcel.text, parcel.descriptors);
      // What has arrived is the successor's; what has not ends here, with an error at both peers.
      if (!given) reset_all(parcel.descriptors);
    }
    if (given) continue;
    const bool flows = !departing.places.empty();
    log::error("proxy", given.error(), {{"lost", flows ? "flows on their way to the new process" : "what the new process is told"}});
  }
  self.giving_ = false;
}

}  // namespace epif::proxy
