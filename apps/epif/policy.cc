#include "policy/policy.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "base/limits.h"
#include "command.h"
#include "policy/authorize.h"
#include "policy/case.h"
#include "policy/entities.h"
#include "policy/request.h"

namespace epif::app {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

Result<std::string> read_file(const std::string& path) {
  std::error_code status;
  if (fs::is_directory(path, status)) return fail(Code::invalid_input, "cannot read", path, "it is a folder");
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(system_error(errno, "cannot open", path));
  std::string text;
  std::array<char, 65536> chunk{};
  while (in.read(chunk.data(), chunk.size()) || in.gcount() > 0) {
    text.append(chunk.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > limits::document_max_bytes) return fail(Code::limit, "the file is too long", path);
  }
  if (in.bad()) return fail(system_error(errno, "cannot read", path));
  return text;
}

template <class T>
Result<T> load(const std::string& path, Result<T> (*parse)(std::string_view, std::string_view)) {
  const auto text = read_file(path);
  if (!text) return fail(text.error());
  return parse(*text, path);
}

Exit check(const std::vector<std::string>& files) {
  auto exit = Exit::done;
  for (const auto& file : files) {
    const auto policies = load<policy::PolicySet>(file, policy::parse_policies);
    if (!policies) {
      exit = report(policies.error());
      continue;
    }
    fmt::print("{}: {} {}\n", file, policies->policies.size(), policies->policies.size() == 1 ? "policy" : "policies");
    for (const auto& policy : policies->policies) {
      fmt::print("  {} {}", policy.effect == policy::Effect::permit ? "permit" : "forbid", policy::quoted(policy.id));
      for (std::size_t i = 0; i < policy.requires_attributes.size(); ++i) {
        fmt::print("{}{}", i == 0 ? " requires " : ", ", policy.requires_attributes[i]);
      }
      fmt::print("\n");
    }
  }
  return exit;
}

std::string as_json(const policy::Decision& decision) {
  json::object out;
  out["decision"] = decision.allow ? "allow" : "deny";
  out["reason"] = json::value_from(decision.reason);
  json::array errors;
  json::object messages;
  for (const auto& error : decision.errors) {
    errors.emplace_back(error.id);
    messages[error.id] = error.error.text();
  }
  out["errors"] = std::move(errors);
  out["messages"] = std::move(messages);
  out["requires"] = json::value_from(decision.required_attributes);
  return json::serialize(out);
}

std::string as_text(const policy::Decision& decision) {
  std::string out = decision.allow ? "allow" : "deny";
  if (decision.reason.empty()) out += ": no policy permits";
  for (std::size_t i = 0; i < decision.reason.size(); ++i) out += (i == 0 ? ": " : ", ") + decision.reason[i];
  for (const auto& attribute : decision.required_attributes) out += "\nrequires: " + attribute;
  for (const auto& error : decision.errors) out += fmt::format("\nskipped: {}: {}", error.id, error.error.text());
  return out;
}

struct EvalOptions {
  std::string policies;
  std::string entities;
  std::string request;
  std::string output = "text";
};

Exit eval(const EvalOptions& options) {
  const auto policies = load<policy::PolicySet>(options.policies, policy::parse_policies);
  if (!policies) return report(policies.error());
  const auto entities = load<policy::Entities>(options.entities, policy::Entities::parse);
  if (!entities) return report(entities.error());
  const auto request = load<policy::Request>(options.request, policy::Request::parse);
  if (!request) return report(request.error());
  const auto decision = authorize(*policies, *entities, *request);
  fmt::print("{}\n", options.output == "json" ? as_json(decision) : as_text(decision));
  return decision.allow ? Exit::done : Exit::answer_is_no;
}

/// `path` of a case file is relative to the root of the test suite: the nearest folder above the case that has it.
std::string resolve(const fs::path& case_file, const std::string& path) {
  for (auto folder = fs::absolute(case_file).parent_path();; folder = folder.parent_path()) {
    std::error_code status;
    if (fs::exists(folder / path, status)) return (folder / path).string();
    if (folder == folder.parent_path()) return path;
  }
}

struct Tally {
  std::size_t cases = 0;
  std::size_t agree = 0;
  std::size_t differ = 0;
  std::size_t unread = 0;  ///< cases whose policies, entities or requests could not be read
};

void unread(Tally& tally, const Error& error) {
  ++tally.unread;
  fmt::print(stderr, "not read: {}\n", error.text());
}

void run_case(const fs::path& file, std::string_view text, Tally& tally) {
  ++tally.cases;
  const auto test = policy::Case::parse(text, file.string());
  if (!test) return unread(tally, test.error());
  const auto policies = load<policy::PolicySet>(resolve(file, test->policies_path), policy::parse_policies);
  if (!policies) return unread(tally, policies.error());
  const auto entities = load<policy::Entities>(resolve(file, test->entities_path), policy::Entities::parse);
  if (!entities) return unread(tally, entities.error());
  for (const auto& request : test->requests) {
    const auto different = policy::difference(request, authorize(*policies, *entities, request.request));
    different.empty() ? ++tally.agree : ++tally.differ;
    if (!different.empty()) fmt::print(stderr, "differs: {}: {}: {}\n", file.string(), request.description, different);
  }
}

Exit test(const std::string& folder, const std::string& output) {
  std::error_code status;
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder, status)) {
    if (entry.is_regular_file() && entry.path().extension() == ".json") files.push_back(entry.path());
  }
  if (status) return report(system_error(status.value(), "cannot list", folder));
  std::ranges::sort(files);
  Tally tally;
  for (const auto& file : files) {
    const auto text = read_file(file.string());
    if (!text) return report(text.error());
    if (policy::Case::looks_like(*text)) run_case(file, *text, tally);
  }
  if (tally.cases == 0) return report(Error{Code::not_found, "no case files", folder});
  if (output == "json") {
    const json::object out{
        {"cases", tally.cases}, {"agree", tally.agree}, {"differ", tally.differ}, {"unread", tally.unread}};
    fmt::print("{}\n", json::serialize(out));
  } else {
    fmt::print("{} cases: {} decisions agree, {} differ; {} cases could not be read\n", tally.cases, tally.agree,
               tally.differ, tally.unread);
  }
  return tally.differ + tally.unread == 0 ? Exit::done : Exit::failed;
}

CLI::Option* add_output(CLI::App& command, std::string& output) {
  return command.add_option("-o,--output", output, "text or json")->check(CLI::IsMember({"text", "json"}));
}

}  // namespace

void add_policy(CLI::App& root, Exit& exit) {
  auto* command = root.add_subcommand("policy", "Check, evaluate and test policies in the Cedar language");
  command->require_subcommand(1);

  auto files = std::make_shared<std::vector<std::string>>();
  auto* checking =
      command->add_subcommand("check", "Read policy files and list their policies, or say what is wrong and where");
  checking->add_option("FILE", *files, "Policy files")->required();
  checking->footer("Example: epif policy check research.cedar");
  checking->callback([files, &exit] { exit = check(*files); });

  auto options = std::make_shared<EvalOptions>();
  auto* evaluating = command->add_subcommand("eval", "Decide one request; exit 0 allow, 3 deny");
  evaluating->add_option("--policies", options->policies, "Policy file")->required();
  evaluating->add_option("--entities", options->entities, "Entities, JSON")->required();
  evaluating->add_option("--request", options->request, "Request, JSON")->required();
  add_output(*evaluating, options->output);
  evaluating->footer(
      "Example: epif policy eval --policies research.cedar --entities entities.json --request request.json -o json");
  evaluating->callback([options, &exit] { exit = eval(*options); });

  auto folder = std::make_shared<std::string>();
  auto output = std::make_shared<std::string>("text");
  auto* testing = command->add_subcommand("test", "Run a folder of case files in the form of the public Cedar tests");
  testing->add_option("DIR", *folder, "Folder, searched to any depth")->required();
  add_output(*testing, *output);
  testing->footer("Example: epif policy test tests/data/cedar");
  testing->callback([folder, output, &exit] { exit = test(*folder, *output); });
}

}  // namespace epif::app
