#pragma once
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "agent/answers.h"
#include "agent/settings.h"
#include "api/client.h"
#include "model/assignment.h"

namespace epif::agent {

/// All that the agent says to the orchestrator, on a thread of its own, since a dead orchestrator must not hold up anything:
/// its report, and the domain's answers. Says things again until they were taken, and the report from time to time.
class Speaker {
 public:
  Speaker(api::ClientOptions orchestrator, std::string node, LocalRules rules, ImageCheck image);
  ~Speaker();
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;

  /// The latest report counts. Returns at once. `seen` is filled in here.
  void report(AssignmentReport report);
  /// Nothing to report: the node has no Assignment.
  void forget_report();
  /// The requests of one kind as they stand, by "domain/application"; those for other members are left alone.
  void requests(std::string_view kind, std::map<std::string, DomainRequest> requests);

 private:
  void run(const std::stop_token& stop);
  void speak();
  void say_report();
  [[nodiscard]] bool stands(std::string_view kind, const std::string& name, const DomainRequest& request);
  void answer(std::string_view kind, const std::string& name, const DomainRequest& request);

  std::unique_ptr<api::Client> client_;
  api::ClientOptions options_;
  std::string node_;
  LocalRules rules_;
  ImageCheck image_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool news_ = false;
  std::optional<AssignmentReport> report_;
  std::map<std::string, std::map<std::string, DomainRequest>> requests_;
  std::set<std::string> withdrawn_;  ///< "kind/name" of requests that went away since the last speech
  // The speaker's thread alone:
  std::optional<AssignmentReport> said_;
  std::chrono::steady_clock::time_point said_at_{};
  std::map<std::string, DomainAnswer> answered_;  ///< by "kind/name"
  std::chrono::steady_clock::time_point checked_at_{};
  bool trouble_ = false;
  std::jthread thread_;
};

}  // namespace epif::agent
