#include "agent/speaker.h"

#include "api/resources.h"
#include "base/limits.h"
#include "base/log.h"
#include "model/document.h"
#include "store/audit.h"

namespace epif::agent {

using Clock = std::chrono::steady_clock;

Speaker::Speaker(api::ClientOptions orchestrator, std::string node, LocalRules rules, ImageCheck image)
    : options_(std::move(orchestrator)),
      node_(std::move(node)),
      rules_(std::move(rules)),
      image_(std::move(image)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Speaker::~Speaker() {
  thread_.request_stop();
  wake_.notify_all();
}

void Speaker::report(AssignmentReport report) {
  const std::lock_guard lock(mutex_);
  if (report_ && *report_ == report) return;
  report_ = std::move(report);
  news_ = true;
  wake_.notify_all();
}

void Speaker::forget_report() {
  const std::lock_guard lock(mutex_);
  report_.reset();
}

void Speaker::requests(std::string_view kind, std::map<std::string, DomainRequest> requests) {
  const std::lock_guard lock(mutex_);
  std::erase_if(requests, [&](const auto& entry) { return entry.second.answerer != node_; });
  auto& known = requests_[std::string(kind)];
  // A request that goes and comes back within one pause of the thread is a new one, and nobody has answered it.
  for (const auto& [name, request] : known) {
    if (!requests.contains(name)) withdrawn_.insert(std::string(kind) + "/" + name);
  }
  known = std::move(requests);
  news_ = true;
  wake_.notify_all();
}

void Speaker::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, std::chrono::milliseconds(limits::reconcile_interval_ms), [&] { return news_; });
      news_ = false;
    }
    if (!stop.stop_requested()) speak();
  }
}

void Speaker::speak() {
  if (!client_) {
    auto made = api::Client::make(options_);
    if (!made) return log::error("agent", made.error());
    client_ = std::move(*made);
  }
  say_report();
  std::map<std::string, std::map<std::string, DomainRequest>> requests;
  {
    const std::lock_guard lock(mutex_);
    requests = requests_;
    for (const auto& key : withdrawn_) answered_.erase(key);
    withdrawn_.clear();
  }
  // The orchestrator has the last word about what was answered: look there from time to time.
  if (Clock::now() - checked_at_ >= std::chrono::seconds(limits::agent_report_s)) {
    checked_at_ = Clock::now();
    answered_.clear();
  }
  std::erase_if(answered_, [&](const auto& entry) {
    const auto slash = entry.first.find('/');
    const auto kind = requests.find(entry.first.substr(0, slash));
    return kind == requests.end() || !kind->second.contains(entry.first.substr(slash + 1));
  });
  for (const auto& [kind, named] : requests) {
    for (const auto& [name, request] : named) answer(kind, name, request);
  }
}

void Speaker::say_report() {
  std::optional<AssignmentReport> report;
  {
    const std::lock_guard lock(mutex_);
    report = report_;
  }
  if (!report) return;
  const bool due = Clock::now() - said_at_ >= std::chrono::seconds(limits::agent_report_s);
  if (said_ && *said_ == *report && !due) return;
  auto text = *report;
  text.seen = store::utc_now();
  auto put = client_->put_status(assignment_kind, node_, print(text));
  if (!put) {
    if (put.error().code != Code::not_found && !std::exchange(trouble_, true)) {
      log::warn("agent", "the orchestrator does not take reports; what runs goes on", {{"error", put.error().text()}});
    }
    return;
  }
  if (std::exchange(trouble_, false)) log::info("agent", "the orchestrator takes reports again");
  said_ = std::move(report);
  said_at_ = Clock::now();
}

bool Speaker::stands(std::string_view kind, const std::string& name, const DomainRequest& request) {
  const auto key = std::string(kind) + "/" + name;
  auto before = answered_.find(key);
  if (before == answered_.end()) {  // said by an earlier agent of this node?
    auto record = client_->get(kind, name);
    auto said = record && !record->status.empty() ? parse_answer(record->status) : Result<DomainAnswer>(fail(Code::not_found, "no answer"));
    if (!said) return false;
    before = answered_.emplace(key, std::move(*said)).first;
  }
  return before->second.granted && before->second.question == request.question();
}

void Speaker::answer(std::string_view kind, const std::string& name, const DomainRequest& request) {
  DomainAnswer answer;
  const bool granted = stands(kind, name, request);
  if (kind == access_request_kind) {
    auto record = client_->get("Domain", request.domain);
    if (!record && record.error().code != Code::not_found) return;  // asked again in a moment
    std::optional<std::vector<AuthoriserRule>> allow;  // a domain that nobody described refuses nothing but by its own rules
    if (record) {
      auto resource = parse_resource(api::source_document(*record), "Domain/" + request.domain);
      if (!resource || !std::holds_alternative<Domain>(*resource)) return;
      allow = std::get<Domain>(*resource).allow;
    }
    answer = authorise(request, allow, rules_);
  } else {
    // What was given stays given: an engine that pauses later must not take a running application down.
    answer = provision(request, rules_, granted ? ImageCheck([](const std::string&) { return Result<>(); }) : image_);
  }
  const auto key = std::string(kind) + "/" + name;
  if (const auto before = answered_.find(key); before != answered_.end() && before->second == answer) return;
  auto put = client_->put_status(kind, name, print(answer));
  if (!put) return;
  log::info("agent", answer.granted ? "granted" : "refused",
            {{"request", key}, {"reason", answer.reason}, {"purpose", request.purpose}});
  answered_[key] = std::move(answer);
}

}  // namespace epif::agent
