#include "net/resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <coroutine>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "net/limiter.h"
#include "net/tcp.h"

namespace epif::net {
namespace {

using Addresses = Result<std::vector<IpAddress>>;

Addresses ask_system(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int failure = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  if (failure != 0) return fail(Code::host_unreachable, "the name does not resolve", name, ::gai_strerror(failure));
  std::vector<IpAddress> found;
  for (const auto* entry = list; entry != nullptr; entry = entry->ai_next) {
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ai_addr, entry->ai_addrlen);
    found.push_back(from_sockaddr(storage).ip);
  }
  if (found.empty()) return fail(Code::host_unreachable, "the name has no address", name);
  return found;
}

}  // namespace

/// One name that the system is to be asked for, or is being asked for. Those who ask for it share the answer.
struct Resolver::Lookup {
  std::string name;
  std::vector<std::shared_ptr<Asker>> askers{};
  bool under_way = false;
};

/// One question of a loop. Fields after the first group are touched on its loop's thread only.
struct Resolver::Asker {
  Loop* loop;
  IpAddress source;
  TimePoint until;
  std::shared_ptr<Lookup> lookup;  ///< under the state's mutex, as the next one
  bool gives_way = false;

  std::weak_ptr<State> state{};
  std::coroutine_handle<> waiter{};
  std::optional<Addresses> answer{};
  Loop::Timer deadline{};

  /// Once; whatever comes later is late.
  void settle(Addresses with) {
    if (answer) return;
    answer = std::move(with);
    deadline.cancel();
    if (waiter) loop->resume_soon(std::exchange(waiter, {}));
  }
};

struct Resolver::State : std::enable_shared_from_this<State> {
  State(Limits most, AskSystem how) : limits(most), ask(how ? std::move(how) : AskSystem(ask_system)) {}

  struct Source {
    std::vector<std::shared_ptr<Asker>> askers{};  ///< whose answer is to come
    std::deque<std::shared_ptr<Lookup>> waiting{};
    std::size_t threads = 0;
    std::size_t places = 0;  ///< askers, but for those that give way
    [[nodiscard]] bool idle() const { return askers.empty() && waiting.empty() && threads == 0; }
  };

  const Limits limits;
  const AskSystem ask;
  mutable std::mutex mutex;
  std::condition_variable news;
  std::map<IpAddress, Source> sources;
  std::set<std::pair<std::size_t, IpAddress>> by_places;  ///< of sources that have any
  std::deque<IpAddress> turns;  ///< sources with lookups that wait
  std::map<std::string, std::shared_ptr<Lookup>, std::less<>> lookups;
  std::size_t places = 0;
  std::size_t threads = 0;
  std::size_t idle_threads = 0;
  std::size_t busy = 0;
  bool stopping = false;

  // All that follow are called with the mutex held, but for those of threads.

  /// Takes a place. Errors: limit.
  Result<> enter(const std::shared_ptr<Asker>& asker, const std::string& name) {
    if (sources[asker->source].askers.size() >= limits.asked_per_source && !evict(asker->source)) {
      return fail(Code::limit, "too many names of one client wait for the resolver", name);
    }
    if (places >= limits.asked && !make_room(asker->source)) return fail(Code::limit, "too many names wait for the resolver", name);
    auto& lookup = lookups[name];
    if (!lookup) lookup = std::make_shared<Lookup>(Lookup{name});
    asker->lookup = lookup;
    lookup->askers.push_back(asker);
    auto& source = sources[asker->source];
    source.askers.push_back(asker);
    recount(asker->source, source, source.places + 1);
    if (!lookup->under_way && std::ranges::find(source.waiting, lookup) == source.waiting.end()) {
      if (source.waiting.empty()) turns.push_back(asker->source);
      source.waiting.push_back(lookup);
      call_thread();
    }
    return {};
  }

  void forget_if_idle(const IpAddress& at) {
    if (const auto found = sources.find(at); found != sources.end() && found->second.idle()) sources.erase(found);
  }

  void free_place(Asker& asker, Source& source) {
    if (std::exchange(asker.gives_way, true)) return;
    recount(asker.source, source, source.places - 1);
  }

  void recount(const IpAddress& at, Source& source, std::size_t now) {
    by_places.erase({source.places, at});
    places += now - source.places;
    source.places = now;
    if (now > 0) by_places.insert({now, at});
  }

  /// Gives up the newest question of the source that has most, if `at` has fewer even with one more: however many sources ask for
  /// all they may, a new one gets a place, and all come to have equal parts.
  bool make_room(const IpAddress& at) {
    if (by_places.empty() || by_places.rbegin()->first < sources.at(at).places + 2) return false;
    const auto& askers = sources.at(by_places.rbegin()->second).askers;
    const auto newest = std::ranges::find_if(askers.rbegin(), askers.rend(), [](const auto& one) { return !one->gives_way; });
    give_up(*newest);
    return true;
  }

  void give_up(const std::shared_ptr<Asker> asker) {
    tell(asker, fail(Code::limit, "the question for a name was given up for those of others", asker->lookup->name));
    leave(*asker);
  }

  /// The asker's question is over. False: it was already.
  bool leave(Asker& asker) {
    const auto lookup = std::exchange(asker.lookup, {});
    if (!lookup) return false;
    auto& source = sources.at(asker.source);
    free_place(asker, source);
    const auto is_it = [&](const auto& one) { return one.get() == &asker; };
    const auto kept = *std::ranges::find_if(source.askers, is_it);  // until the end of this
    std::erase_if(source.askers, is_it);
    std::erase_if(lookup->askers, is_it);
    if (lookup->askers.empty() && !lookup->under_way) lookups.erase(lookup->name);
    const bool wanted = std::ranges::any_of(lookup->askers, [&](const auto& one) { return one->source == asker.source; });
    if (!wanted && !lookup->under_way) drop_waiting(asker.source, source, lookup);
    forget_if_idle(asker.source);
    return true;
  }

  void drop_waiting(const IpAddress& at, Source& source, const std::shared_ptr<Lookup>& lookup) {
    const bool waited = std::erase(source.waiting, lookup) > 0;
    if (waited && source.waiting.empty()) std::erase(turns, at);
  }

  /// Ends one question of this source whose asker gives way.
  bool evict(const IpAddress& at) {
    const auto& askers = sources.at(at).askers;
    const auto found = std::ranges::find_if(askers, [](const auto& one) { return one->gives_way; });
    if (found == askers.end()) return false;
    give_up(*found);
    sources[at];  // its caller goes on with it
    return true;
  }

  void tell(const std::shared_ptr<Asker>& asker, Addresses answer) const {
    if (stopping) return;
    asker->loop->post([asker, answer = std::move(answer)]() mutable { asker->settle(std::move(answer)); });
  }

  [[nodiscard]] bool is_worth_it(const Lookup& lookup) const {
    const auto least = Clock::now() + limits.worth;
    return std::ranges::any_of(lookup.askers, [&](const auto& one) { return one->until >= least; });
  }

  /// The next lookup by turns, taken; null: nothing that may begin. `by`: whom it counts for.
  std::shared_ptr<Lookup> take(IpAddress& by) {
    const auto may = [this](const IpAddress& one) { return sources.at(one).threads < limits.threads - busy; };
    for (;;) {
      const auto found = std::ranges::find_if(turns, may);
      if (found == turns.end()) return nullptr;
      by = *found;
      turns.erase(found);
      auto& source = sources.at(by);
      const auto lookup = source.waiting.front();
      source.waiting.pop_front();
      if (!source.waiting.empty()) turns.push_back(by);
      if (!is_worth_it(*lookup)) continue;
      lookup->under_way = true;
      ++source.threads;
      ++busy;
      // Other sources that wait for it have no turn to spend on it.
      for (const auto& asker : lookup->askers) drop_waiting(asker->source, sources.at(asker->source), lookup);
      return lookup;
    }
  }

  [[nodiscard]] bool may_take() const {
    return std::ranges::any_of(turns, [this](const IpAddress& one) { return sources.at(one).threads < limits.threads - busy; });
  }

  /// One thread more for what waits, if there is something for it to do.
  void call_thread() {
    if (!may_take()) return;
    if (idle_threads > 0) {
      news.notify_one();
    } else if (threads < limits.threads) {
      try {
        std::thread([state = shared_from_this()] { state->serve(); }).detach();
        ++threads;
      } catch (const std::system_error&) {
        // None is to be had now: who waits keeps its place for the next one that is free, or until its deadline.
      }
    }
  }

  void answer(const std::shared_ptr<Lookup>& lookup, const Addresses& found) {
    lookups.erase(lookup->name);
    const auto waited = lookup->askers;
    for (const auto& asker : waited) {
      tell(asker, found);
      leave(*asker);
    }
  }

  /// A thread's life.
  void serve() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      IpAddress by;
      const auto lookup = take(by);
      if (!lookup) {
        ++idle_threads;
        const auto outcome = news.wait_for(lock, limits.thread_idle);
        --idle_threads;
        if (outcome == std::cv_status::timeout && !may_take()) break;
        continue;
      }
      call_thread();  // there may be more to do than one was woken for
      lock.unlock();
      auto found = ask(lookup->name);
      lock.lock();
      --busy;
      --sources.at(by).threads;
      answer(lookup, found);
      forget_if_idle(by);
    }
    --threads;
  }
};

Resolver::Resolver() : Resolver(Limits{}) {}

Resolver::Resolver(Limits limits, AskSystem ask) : state_(std::make_shared<State>(limits, std::move(ask))) {}

Resolver::~Resolver() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->news.notify_all();
}

Resolver::Use Resolver::use() const {
  const std::lock_guard lock(state_->mutex);
  return {state_->threads, state_->places};
}

void Resolver::Asking::cancel(const Error& why) {
  if (why_) return;
  why_ = why;
  if (!asker_) return;
  if (const auto state = asker_->state.lock()) {
    const std::lock_guard lock(state->mutex);
    state->leave(*asker_);
  }
  asker_->settle(fail(why));
}

void Resolver::Asking::give_way() {
  if (!asker_) return;
  const auto state = asker_->state.lock();
  if (!state) return;
  const std::lock_guard lock(state->mutex);
  if (asker_->lookup) state->free_place(*asker_, state->sources.at(asker_->source));
}

Task<Result<std::vector<IpAddress>>> Resolver::resolve(Loop& loop, std::string name, Asking& asking) {
  struct Answered {
    Asker& asker;
    bool await_ready() const noexcept { return asker.answer.has_value(); }
    void await_suspend(std::coroutine_handle<> waiter) const noexcept { asker.waiter = waiter; }
    void await_resume() const noexcept {}
  };
  if (auto literal = IpAddress::parse(name)) co_return std::vector<IpAddress>{*literal};
  if (asking.why_) co_return fail(*asking.why_);
  const auto asker = std::make_shared<Asker>(Asker{&loop, source_of(asking.source_), asking.deadline_, {}});
  asker->state = state_;
  {
    const std::lock_guard lock(state_->mutex);
    auto entered = state_->enter(asker, name);
    if (!entered) {
      state_->forget_if_idle(asker->source);
      co_return fail(std::move(entered.error()));
    }
  }
  asking.asker_ = asker;
  asker->deadline = loop.at(asking.deadline_, [&asker = *asker, &name] {  // both outlive it: the answer cancels it
    if (const auto state = asker.state.lock()) {
      const std::lock_guard lock(state->mutex);
      state->leave(asker);
    }
    asker.settle(fail(Code::timeout, "the name does not resolve in time", name));
  });
  co_await Answered{*asker};
  asking.asker_.reset();
  co_return std::move(*asker->answer);
}

}  // namespace epif::net
