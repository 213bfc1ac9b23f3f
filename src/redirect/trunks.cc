#include "redirect/trunks.h"

#include <unordered_map>

#include "base/log.h"
#include "redirect/handshake.h"

namespace epif::redirect {
namespace {

using What = socks6::TrunkOption::What;

net::TimePoint deadline_of_handshake() { return net::Clock::now() + std::chrono::milliseconds(limits::handshake_deadline_ms); }

}  // namespace

struct Trunks::State {
  State(net::Loop& its_loop, const Settings& its_settings, net::WarmPool& its_pool, std::shared_ptr<Carrying> all)
      : loop(its_loop), settings(its_settings), pool(&its_pool), carrying(std::move(all)) {}

  struct Answer {
    bool offered;
    net::TimePoint at;
  };

  net::Loop& loop;
  const Settings& settings;
  net::WarmPool* pool;  ///< null: no more trunks
  std::shared_ptr<Carrying> carrying;
  std::shared_ptr<net::Trunk> trunk;
  net::TimePoint trunk_since{};
  std::unordered_map<std::string, Answer> answers;
  bool offered_to_all = false;  ///< but those whose answers say otherwise
  bool making = false;
  std::optional<net::TimePoint> retry_at{};
  std::uint64_t flows = 0;
  std::uint64_t moved = 0;

  /// A new connection to the proxy on which it has consented to `wish`; with what it sent behind its consent.
  struct Made {
    std::unique_ptr<net::Stream> stream;
    socks6::TrunkOption consent;
    Bytes early;
  };
  /// The end of the thread cancels it: nobody would resume it afterwards.
  struct Asking {
    Carrying& carrying;
    net::Cancel& cancel;
    Asking(Carrying& all, net::Cancel& one) : carrying(all), cancel(one) { carrying.asking.insert(&cancel); }
    ~Asking() { carrying.asking.erase(&cancel); }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
  };
  net::Task<Result<Made>> ask(socks6::TrunkOption wish) {
    const auto deadline = deadline_of_handshake();
    Wish noop;
    noop.destination = {IpAddress(), 0};
    noop.user = settings.user ? &*settings.user : nullptr;
    noop.command = socks::Command::noop;
    noop.trunk = wish;
    auto message = socks6_request(noop, {});
    if (!message) co_return fail(std::move(message.error()));
    net::Cancel cancel;
    const Asking asking(*carrying, cancel);
    auto taken = co_await pool->take({}, deadline, &cancel);
    if (!taken) co_return fail(std::move(taken.error()));
    Made made{std::move(taken->stream), {}, {}};
    const net::Cancel::Stage stage(&cancel, *made.stream);
    auto sent = co_await net::write_all(*made.stream, *message, deadline);
    if (!sent) co_return fail(std::move(sent.error()));
    std::optional<socks6::TrunkOption> consent;
    auto early = co_await socks6_replies(*made.stream, deadline, &consent);
    if (!early) co_return fail(std::move(early.error()));
    if (!consent || consent->what != wish.what) co_return fail(Code::unsupported, "the proxy makes no trunk");
    made.consent = *consent;
    made.early = std::move(*early);
    co_return made;
  }

  [[nodiscard]] bool offered(const std::string& route) const {
    const auto answer = answers.find(route);
    return answer == answers.end() ? offered_to_all : answer->second.offered;
  }

  static void want(const std::shared_ptr<State>& state) {
    if (state->pool == nullptr || state->making || (state->retry_at && net::Clock::now() < *state->retry_at)) return;
    state->making = true;
    net::spawn(make(state));
  }

  static net::Task<void> make(std::shared_ptr<State> state) {
    auto made = co_await state->ask({What::open});
    state->making = false;
    if (!made || state->pool == nullptr) {
      const bool declined = !made && (made.error().code == Code::unsupported || made.error().code == Code::unauthenticated);
      state->retry_at = net::Clock::now() + (declined ? std::chrono::seconds(limits::trunk_ask_again_s) : std::chrono::milliseconds(limits::warm_pool_retry_max_ms));
      if (!made) log::warn("redirect", "no trunk", {{"why", made.error().text()}, {"effect", "each flow has a connection of its own"}});
      co_return;
    }
    net::Trunk::Settings settings;
    const auto itself = std::make_shared<std::weak_ptr<net::Trunk>>();
    settings.bulk = [weak = std::weak_ptr(state), itself, token = made->consent.token](std::uint32_t stream) {
      const auto self = weak.lock();
      if (self && self->pool != nullptr) net::spawn(move_out(self, itself->lock(), {What::join, token, stream}));
    };
    auto trunk = net::Trunk::make(std::move(made->stream), std::move(settings));
    *itself = trunk;
    state->trunk = trunk;
    state->trunk_since = net::Clock::now();
    state->carrying->trunks.insert(trunk.get());
    auto ended = co_await trunk->run(std::move(made->early));
    state->carrying->trunks.erase(trunk.get());
    if (!ended && trunk->streams() > 0) log::warn("redirect", "a trunk broke", {{"why", ended.error().text()}});
    if (state->trunk == trunk) state->trunk.reset();
  }

  static net::Task<void> move_out(std::shared_ptr<State> state, std::shared_ptr<net::Trunk> from, socks6::TrunkOption join) {
    auto made = co_await state->ask(join);
    // Where that fails the stream stays where it is.
    if (!made) co_return;
    if (from->continue_on(join.stream, std::move(made->stream), std::move(made->early))) ++state->moved;
  }
};

Trunks::Trunks(net::Loop& loop, const Settings& settings, net::WarmPool& pool, std::shared_ptr<Carrying> carrying)
    : state_(std::make_shared<State>(loop, settings, pool, std::move(carrying))) {}

Trunks::~Trunks() { hand_over(); }

void Trunks::begin(bool now) {
  state_->offered_to_all = true;
  if (now) State::want(state_);
}

std::unique_ptr<net::Stream> Trunks::open(const std::string& route) {
  if (!state_->offered(route)) return nullptr;
  // New flows are to meet the proxy's certificate as it is: the handshake that checked it must not be long ago.
  const bool young = state_->loop.now() - state_->trunk_since < std::chrono::seconds(limits::tls_session_life_s);
  if (state_->trunk && young && state_->trunk->takes_streams()) {
    ++state_->flows;
    return state_->trunk->open();
  }
  retire();
  State::want(state_);
  return nullptr;
}

bool Trunks::asks(const std::string& route) const {
  const auto answer = state_->answers.find(route);
  if (answer == state_->answers.end()) return !state_->offered_to_all;
  return !answer->second.offered && net::Clock::now() - answer->second.at > std::chrono::seconds(limits::trunk_ask_again_s);
}

void Trunks::answered(const std::string& route, bool offered) {
  state_->answers[route] = {offered, net::Clock::now()};
  // The next flow shall find it.
  if (offered && !state_->trunk) static_cast<void>(open(route));
}

void Trunks::doubt(net::TimePoint since) {
  if (state_->trunk && state_->trunk->heard() < since) retire();
}

void Trunks::retire() {
  if (state_->trunk) state_->trunk->drain();
  state_->trunk.reset();
}

void Trunks::forget_answers() { state_->answers.clear(); }

void Trunks::hand_over() {
  state_->pool = nullptr;
  state_->answers.clear();
  retire();
}

std::size_t Trunks::standing() const { return state_->trunk ? 1 : 0; }
std::uint64_t Trunks::flows() const { return state_->flows; }
std::uint64_t Trunks::moved() const { return state_->moved; }

}  // namespace epif::redirect
