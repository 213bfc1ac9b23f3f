#pragma once
#include <chrono>
#include <map>
#include <set>
#include <string>

#include "model/assignment.h"
#include "orchestrator/environment.h"
#include "orchestrator/judgement.h"
#include "orchestrator/world.h"

namespace epif::orchestrator {

/// Steps 2 to 5 for every environment of a pass: what the domains are asked, and what they have answered so far. Pure.
class Requests {
 public:
  Requests(const World& world, const Judgement& judgement, const Reports& reports,
           std::chrono::system_clock::time_point now)
      : world_(world), judgement_(judgement), reports_(reports), now_(now) {}

  /// Sets verdict, conditions 2 to 5, phase and `may_install`, and collects the requests that the environment still needs.
  void advance(Environment& environment);
  /// Once more, since the judgement of it is another by now: what it was to ask is not asked.
  void start_over(Environment& environment);

  using Wanted = std::map<std::string, DomainRequest>;  ///< by "domain/application"
  [[nodiscard]] const Wanted& access() const { return access_; }
  [[nodiscard]] const Wanted& nodes() const { return nodes_; }

 private:
  struct Answered {
    StepState state = StepState::done;
    std::string reason;
  };
  [[nodiscard]] bool judge_flows(Environment& environment) const;
  [[nodiscard]] Wanted requests_of(const Environment& environment) const;
  [[nodiscard]] std::string answerer(const std::string& domain, const std::set<std::string>& involved) const;
  [[nodiscard]] static Answered ask(const Wanted& wanted, const std::map<std::string, store::Record>& existing,
                                    std::string_view what);
  [[nodiscard]] Answered receive(const Environment& environment) const;

  const World& world_;
  const Judgement& judgement_;
  const Reports& reports_;
  std::chrono::system_clock::time_point now_;
  Wanted access_;
  Wanted nodes_;
};

}  // namespace epif::orchestrator
