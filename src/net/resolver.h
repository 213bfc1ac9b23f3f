#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/limits.h"
#include "net/loop.h"
#include "net/task.h"

namespace epif::net {

/// Host names to addresses by the system's resolver, which can neither be interrupted nor given a deadline: on threads of its own,
/// so that no loop waits, and that come and go with the work. Sources take turns (as of source_of()), and none gets more threads
/// than are still free for others; where all places are taken, the source with most gives one up for a source with fewer; askers of
/// one name share one answer. Thread-safe; outlives the loops that ask. Its end does not
/// wait for what the system is still asked.
class Resolver {
 public:
  struct Limits {
    std::size_t asked = limits::names_asked;  ///< by all: under way and waiting
    std::size_t asked_per_source = limits::names_asked_per_source;
    std::size_t threads = limits::name_threads;
    std::chrono::milliseconds worth{1'000};  ///< who has less time left waits for its deadline: a thread would be taken for long, in vain
    std::chrono::milliseconds thread_idle = std::chrono::seconds(limits::name_thread_idle_s);
  };
  /// Blocks until the system has answered. At least one address, or an error. Called by many threads at once.
  using AskSystem = std::function<Result<std::vector<IpAddress>>(const std::string& name)>;

  Resolver();
  explicit Resolver(Limits limits, AskSystem ask = {});
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

 private:
  struct State;
  struct Asker;
  struct Lookup;

 public:
  /// Who asks, until when, and a hold on the question that is under way. For one loop and one question at a time; outlives it.
  class Asking {
   public:
    Asking(IpAddress source, TimePoint deadline) : source_(std::move(source)), deadline_(deadline) {}
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;

    /// The question ends with `why`, at once, and so does every later one. The first reason stays.
    void cancel(const Error& why);
    /// The answer may be of no use any more: the place is free for others, and the question is given up if they need it.
    void give_way();

   private:
    friend class Resolver;
    const IpAddress source_;
    const TimePoint deadline_;
    std::optional<Error> why_{};
    std::shared_ptr<Asker> asker_{};
  };

  /// Addresses in the system's order of preference, at least one. Errors: host_unreachable (unknown name), timeout (the deadline),
  /// limit (too many questions; given up for others), the reason of a cancel.
  [[nodiscard]] Task<Result<std::vector<IpAddress>>> resolve(Loop& loop, std::string name, Asking& asking);

  /// Threads there are, and questions that have a place.
  struct Use {
    std::size_t threads = 0;
    std::size_t asked = 0;
  };
  [[nodiscard]] Use use() const;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace epif::net
