// What other hosts answer to an orchestrator: no crash, and nothing is installed that not every domain granted, in answer to the question
// that it was asked. Lines of the input: the answers to the access requests, to the node requests, then reports of agents; "@" stands for
// the question's fingerprint. An input whose first line is "E" is an EnvironmentRequest instead.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "model/document.h"
#include "orchestrator/environment.h"
#include "orchestrator/policies.h"
#include "orchestrator/requests.h"
#include "orchestrator/sample.h"

using namespace epif;
using namespace epif::orchestrator;

namespace {

struct Sample {
  World world;
  Judgement judgement;
  std::chrono::system_clock::time_point now{std::chrono::hours(24 * 365 * 50)};
};

Sample make_sample() {
  Sample made;
  auto resources = parse_resources(sample::domains, "sample").value();
  auto application = parse_resources(sample::imaging, "sample").value().front();
  store::Record asked{"EnvironmentRequest", "imaging", "{}", print(EnvironmentRequest{to_json(application), false, 1}), "", 1, 1};
  made.world.environments.emplace("imaging", std::move(asked));
  for (auto& resource : resources) made.world.resources.put(std::move(resource));
  auto all = made.world.resources;
  all.put(std::move(application));
  made.judgement = judge(all, {"imaging"}, cedar_policies(), std::chrono::floor<std::chrono::seconds>(made.now));
  if (made.judgement.applications.at("imaging").kind != Verdict::Kind::possible) std::abort();
  for (const auto* node : {"research/pacs", "research/research-proxy", "umc/modality", "umc/umc-proxy"})
    made.world.assignments.emplace(node, store::Record{std::string(assignment_kind), node, "{}", "{}", "", 1, 1});
  return made;
}

/// Sets the answers; gives how many domains said yes to what they were asked.
std::size_t answer(const Requests::Wanted& wanted, std::map<std::string, store::Record>& records, std::string_view& lines) {
  std::size_t granted = 0;
  for (const auto& [name, request] : wanted) {
    auto text = std::string(lines.substr(0, lines.find('\n')));
    lines.remove_prefix(std::min(lines.size(), text.size() + 1));
    for (std::size_t at = text.find('@'); at != text.npos; at = text.find('@', at)) text.replace(at, 1, request.question());
    const auto said = parse_answer(text);
    granted += said && said->granted && said->question == request.question();
    records[name] = {"", name, "{}", print(request), text, 1, 1};
  }
  return granted;
}

void check_answers(std::string_view lines) {
  static const auto fixed = make_sample();
  auto world = fixed.world;
  std::size_t granted = 0;
  std::size_t asked = 0;
  for (const auto stage : {0, 1, 2}) {
    const auto reports = read_reports(world);
    auto environment = read_environments(world).front();
    Requests requests(world, fixed.judgement, reports, fixed.now);
    requests.advance(environment);
    const bool all = granted == asked;
    if (requests.access().size() != 2 || (stage == 0 && !requests.nodes().empty())) std::abort();
    if (stage == 1 && all == requests.nodes().empty()) std::abort();  // asked for nodes exactly if all gave access
    if (environment.may_install && (stage < 2 || !all)) std::abort();
    if (stage == 2) return;
    const auto& wanted = stage == 0 ? requests.access() : requests.nodes();
    if (wanted.empty()) return;
    granted = answer(wanted, stage == 0 ? world.access : world.nodes, lines);
    asked = wanted.size();
    for (auto& [name, record] : world.assignments) {
      if (stage == 0) break;
      record.status = std::string(lines.substr(0, lines.find('\n')));
      lines.remove_prefix(std::min(lines.size(), record.status.size() + 1));
    }
  }
}

void check_environment(std::string_view text) {
  const auto first = parse_environment(text);
  if (!first) return;
  const auto second = parse_environment(print(*first));
  if (!second || *second != *first) std::abort();
  World world;
  world.environments.emplace("imaging", store::Record{"EnvironmentRequest", "imaging", "{}", std::string(text), "", 1, 1});
  const auto environment = read_environments(world).front();
  if (environment.application && environment.application->metadata.name != "imaging") std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 64 * 1024) return 0;
  const auto text = as_text(ByteSpan(data, size));
  if (text.starts_with("E\n")) check_environment(text.substr(2));
  else check_answers(text);
  return 0;
}
