#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>

#include "api/client_config.h"
#include "api/resource_path.h"
#include "api/users_words.h"
#include "api/view.h"
#include "command.h"
#include "model/document.h"

namespace epif::app {
namespace {

namespace json = boost::json;

struct ClientArguments {
  api::ClientConfig server;
  std::vector<std::string> files;
  std::string kind;
  std::string name;
  std::string flow;
  std::string output = "text";
  bool wait = false;
  bool verify = false;
  unsigned timeout_s = 300;
};

/// Prints to stdout; a reader that went away is an error, not a crash.
Exit say(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return written ? Exit::done : report(system_error(errno, "cannot write", "stdout"));
}

Result<std::unique_ptr<api::Client>> connect(const ClientArguments& arguments) {
  auto options = api::resolve_client(arguments.server);
  if (!options) return fail(std::move(options.error()));
  return api::Client::make(std::move(*options));
}

/// Runs a command's body with a connected client; any error is reported.
template <class Body>
Exit with_client(const ClientArguments& arguments, Body body) {
  auto client = connect(arguments);
  if (!client) return report(client.error());
  Result<Exit> done = body(**client);
  return done ? *done : report(done.error());
}

Result<std::vector<Resource>> load(const std::vector<std::string>& files) {
  auto set = load_resources(files);
  if (!set) return fail(std::move(set.error()));
  for (const auto& folder : unread_folders(files)) std::fprintf(stderr, "epif: note: %s is not read; name it, too, if it is meant\n", folder.c_str());
  std::vector<Resource> all;
  const auto take = [&](const auto& map) { for (const auto& [key, resource] : map) all.emplace_back(resource); };
  take(set->domains), take(set->attributes), take(set->functions), take(set->proxies);
  take(set->nodes), take(set->policies), take(set->consents), take(set->applications);
  if (all.empty()) return fail(Code::invalid_input, "no resource in the input");
  return all;
}

Result<std::string> send(api::Client& client, const std::vector<Resource>& resources) {
  auto answer = client.request("POST", api::apply_path, api::body_of(resources));
  if (!answer) return fail(api::in_users_words(std::move(answer.error()), resources));
  std::string text;
  const auto applied = json::parse(*answer);  // named: a range-for would not keep a temporary's parts alive
  for (const auto& item : applied.at("applied").as_array()) {
    text += fmt::format("{} {} {}\n", item.at("kind").as_string().c_str(), item.at("name").as_string().c_str(), item.at("result").as_string().c_str());
  }
  return text;
}

Exit run_apply(const ClientArguments& arguments) {
  auto resources = load(arguments.files);  // before any connection: faults of the files come first
  if (!resources) return report(resources.error());
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    auto text = send(client, *resources);
    if (!text) return fail(std::move(text.error()));
    return say(*text);
  });
}

Exit run_get(const ClientArguments& arguments) {
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    store::Listing listing;
    if (arguments.name.empty()) {
      auto all = client.list(api::kind_word(arguments.kind));
      if (!all) return fail(std::move(all.error()));
      listing = std::move(*all);
    } else {
      auto one = client.get(api::kind_word(arguments.kind), arguments.name);
      if (!one) return fail(std::move(one.error()));
      listing.records.push_back(std::move(*one));
    }
    if (arguments.output == "json") return say(arguments.name.empty() ? api::print_listing(listing) + "\n" : api::pretty_record(listing.records[0]));
    if (arguments.output != "yaml") return say(api::table(listing, arguments.output == "wide"));
    std::string text;
    for (const auto& record : listing.records) text += (text.empty() ? "" : "---\n") + api::yaml(record);
    return say(text);
  });
}

Exit run_describe(const ClientArguments& arguments) {
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    auto record = client.get(api::kind_word(arguments.kind), arguments.name);
    if (!record) return fail(std::move(record.error()));
    return say(api::describe(*record));
  });
}

Exit run_delete(const ClientArguments& arguments) {
  const bool by_name = !arguments.kind.empty() && !arguments.name.empty();
  if (by_name == !arguments.files.empty()) return report({Code::usage, "give KIND and NAME, or -f FILE", {}, {}, {}});
  std::vector<std::pair<std::string, std::string>> wanted;
  if (by_name) wanted.emplace_back(api::kind_word(arguments.kind), arguments.name);
  if (!by_name) {
    auto resources = load(arguments.files);
    if (!resources) return report(resources.error());
    // What refers to others goes first.
    for (auto at = resources->rbegin(); at != resources->rend(); ++at) wanted.emplace_back(name(kind_of(*at)), metadata_of(*at).full_name());
  }
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    for (const auto& [kind, name] : wanted) {
      auto done = client.remove(kind, name);
      const bool gone_already = !done && !by_name && done.error().code == Code::not_found;
      if (!done && !gone_already) return fail(std::move(done.error()));
      if (done) static_cast<void>(say(fmt::format("{} {} deleted\n", kind, name)));
    }
    return Exit::done;
  });
}

/// Whether trying again cannot help: the answer would be the same.
bool is_final(const Error& error) {
  switch (error.code) {
    case Code::usage:
    case Code::invalid_input:
    case Code::not_found:
    case Code::denied:
    case Code::unauthenticated:
    case Code::unsupported: return true;
    default: return false;
  }
}

Exit run_watch(const ClientArguments& arguments) {
  auto options = api::resolve_client(arguments.server);
  if (!options) return report(options.error());
  const bool as_json = arguments.output == "json";
  const auto line = [as_json](const char* what, const store::Record& record) {
    if (as_json) return say(fmt::format("{{\"event\":\"{}\",\"resource\":{}}}\n", what, json::serialize(json::parse(api::pretty_record(record)))));
    const auto phase = api::ApplicationView::of(record).phase;
    return say(fmt::format("{:<8} {} {} version {} {}\n", what, record.kind, record.name, record.version, phase));
  };
  api::WatchCalls calls;
  calls.listed = [line](const store::Listing& listing) { for (const auto& record : listing.records) static_cast<void>(line("is", record)); };
  calls.changed = [line](const store::Event& event) { static_cast<void>(line(event.type == store::Event::Type::put ? "put" : "removed", event.record)); };
  std::mutex mutex;
  std::condition_variable ended;
  std::optional<Error> end;
  calls.connection = [&](const std::optional<Error>& error) {
    if (!error) return;
    if (!is_final(*error)) return static_cast<void>(std::fprintf(stderr, "epif: %s; trying again\n", error->text().c_str()));
    const std::lock_guard lock(mutex);
    if (!end) end = *error;
    ended.notify_one();
  };
  const api::Watch watch(std::move(*options), api::kind_word(arguments.kind), arguments.name, std::move(calls));
  std::unique_lock lock(mutex);
  ended.wait(lock, [&] { return end.has_value(); });  // or until Ctrl-C
  return report(*end);
}

/// Shows an application's steps while one waits: redrawn in place on a terminal, each change as a line in a pipe.
class Progress {
 public:
  void show(const api::ApplicationView& view) {
    if (terminal_ && drawn_ > 0) std::fprintf(stderr, "\x1b[%zuA", drawn_);
    for (std::size_t i = 0; i < view.steps.size(); ++i) {
      const auto text = view.steps[i].text();
      const bool changed = i >= before_.size() || before_[i] != view.steps[i];
      if (terminal_) std::fprintf(stderr, "\x1b[2K%.*s\n", 160, text.c_str());
      else if (changed && view.steps[i].state != "pending") std::fprintf(stderr, "%s\n", text.c_str());
    }
    drawn_ = view.steps.size();
    before_ = view.steps;
  }

 private:
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  std::size_t drawn_ = 0;
  std::vector<api::StepLine> before_;
};

/// Follows the application until its status is about `generation` and settled.
Result<store::Record> wait_settled(const ClientArguments& arguments, const std::string& application, std::uint64_t generation, bool stopping) {
  auto options = api::resolve_client(arguments.server);
  if (!options) return fail(std::move(options.error()));
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<store::Record> latest;
  bool removed = false;
  Progress progress;
  const auto take = [&](const store::Record& record) {
    const std::scoped_lock lock(mutex);
    latest = record;
    progress.show(api::ApplicationView::of(record));
    changed.notify_all();
  };
  api::WatchCalls calls;
  calls.listed = [&](const store::Listing& listing) { for (const auto& record : listing.records) take(record); };
  calls.changed = [&](const store::Event& event) {
    if (event.type == store::Event::Type::put) return take(event.record);
    const std::scoped_lock lock(mutex);
    removed = true;
    changed.notify_all();
  };
  const api::Watch watch(std::move(*options), "Application", application, std::move(calls));
  const auto done = [&] {
    if (removed) return true;
    const auto view = latest ? api::ApplicationView::of(*latest) : api::ApplicationView{};
    return view.settled(generation) && (!stopping || view.phase == "Stopped" || view.failed());
  };
  std::unique_lock lock(mutex);
  const bool in_time = changed.wait_for(lock, std::chrono::seconds(arguments.timeout_s), done);
  if (removed) return fail(Code::not_found, "was deleted meanwhile", "Application " + application);
  if (!in_time) {
    return fail(Code::timeout, "still not settled", "Application " + application,
                fmt::format("waited {} s; its phase is {}", arguments.timeout_s, latest ? api::ApplicationView::of(*latest).phase : "unknown"),
                "look at `epif status " + application + "`, or wait longer with --timeout");
  }
  return *latest;
}

Exit verdict_of(const api::ApplicationView& view) {
  if (view.refused()) return Exit::answer_is_no;
  return view.failed() ? Exit::failed : Exit::done;
}

Exit finish(const std::string& application, const api::ApplicationView& view) {
  const auto said = say(fmt::format("{}: {}{}{}\n{}", application, view.phase, view.reason.empty() ? "" : ": ", view.reason, view.flows));
  return said == Exit::done ? verdict_of(view) : said;
}

Exit run_submit(const ClientArguments& arguments) {
  auto resources = load(arguments.files);
  if (!resources) return report(resources.error());
  std::vector<std::string> applications;
  for (const auto& resource : *resources) {
    if (kind_of(resource) == Kind::application) applications.push_back(metadata_of(resource).full_name());
  }
  if (applications.empty()) return report({Code::invalid_input, "no Application in the input", {}, {}, "use `epif apply` for other resources"});
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    auto text = send(client, *resources);
    if (!text) return fail(std::move(text.error()));
    if (auto said = say(*text); said != Exit::done || !arguments.wait) return said;
    auto worst = Exit::done;
    for (const auto& application : applications) {
      auto record = client.get("Application", application);
      if (!record) return fail(std::move(record.error()));
      auto settled = wait_settled(arguments, application, record->generation, false);
      if (!settled) return fail(std::move(settled.error()));
      const auto exit = finish(application, api::ApplicationView::of(*settled));
      if (worst == Exit::done) worst = exit;
    }
    return worst;
  });
}

Exit run_stop(const ClientArguments& arguments) {
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    auto body = client.request("PUT", api::resource_path("Application", arguments.name) + "/desired", R"({"desired":"stopped"})");
    if (!body) return fail(std::move(body.error()));
    if (!arguments.wait) return say("Application " + arguments.name + " is asked to stop\n");
    auto record = client.get("Application", arguments.name);
    if (!record) return fail(std::move(record.error()));
    auto settled = wait_settled(arguments, arguments.name, record->generation, true);
    if (!settled) return fail(std::move(settled.error()));
    const auto view = api::ApplicationView::of(*settled);
    const auto said = say(fmt::format("{}: {}\n", arguments.name, view.phase));
    return view.failed() ? Exit::failed : said;
  });
}

Exit run_status(const ClientArguments& arguments) {
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    auto record = client.get("Application", arguments.name);
    if (!record) return fail(std::move(record.error()));
    if (arguments.output == "json") return say(api::pretty_record(*record));
    const auto view = api::ApplicationView::of(*record);
    if (view.phase.empty()) return say(arguments.name + ": not looked at yet by the orchestrator\n");
    std::string text = fmt::format("{}: {}{}{}\n", arguments.name, view.phase, view.reason.empty() ? "" : ": ", view.reason);
    if (view.observed < record->generation) text += "(this is about an older version; the newest is still being judged)\n";
    for (const auto& step : view.steps) text += step.text() + "\n";
    return say(text + view.flows);
  });
}

Exit run_explain(const ClientArguments& arguments) {
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    auto record = client.get("Application", arguments.name);
    if (!record) return fail(std::move(record.error()));
    auto view = api::explain(*record, arguments.flow);
    if (!view) return fail(std::move(view.error()));
    const auto said = say(view->text);
    return said == Exit::done && !view->possible ? Exit::answer_is_no : said;
  });
}

/// Prints the whole log; with --verify checks its chain of hashes instead.
Exit run_audit(const ClientArguments& arguments) {
  return with_client(arguments, [&](api::Client& client) -> Result<Exit> {
    std::uint64_t last = 0;
    std::string before;
    for (;;) {
      auto body = client.request("GET", fmt::format("/v1/audit?after={}&limit=1000", last));
      if (!body) return fail(std::move(body.error()));
      std::vector<store::AuditLine> lines;
      const auto page = json::parse(*body);
      for (const auto& item : page.at("lines").as_array()) {
        lines.push_back({item.at("number").to_number<std::uint64_t>(), std::string(item.at("time").as_string()),
                         std::string(item.at("entry").as_string()), std::string(item.at("hash").as_string())});
      }
      if (lines.empty()) break;
      const auto broken = lines.front().number != last + 1 ? last + 1 : store::first_broken_line(lines, before);
      if (arguments.verify && broken != 0) {
        return fail(Code::denied, "the audit log was changed", fmt::format("line {}", broken), "its hash does not fit the line before", {});
      }
      std::string text;
      for (const auto& line : lines) text += fmt::format("{} {} {}\n", line.number, line.time, line.entry);
      if (!arguments.verify && say(text) != Exit::done) return Exit::failed;
      last = lines.back().number;
      before = lines.back().hash;
    }
    return arguments.verify ? say(fmt::format("{} lines, chain unbroken\n", last)) : Exit::done;
  });
}

}  // namespace

void add_client(CLI::App& root, Exit& exit) {
  const auto add = [&](const char* word, const char* help, Exit (*run)(const ClientArguments&), const char* example) {
    auto arguments = std::make_shared<ClientArguments>();
    auto* command = root.add_subcommand(word, help);
    command->add_option("--server", arguments->server.server, "The orchestrator: https://host:port or unix:/path (default EPIF_SERVER)");
    command->add_option("--token-file", arguments->server.token_file, "File with the user's token (default EPIF_TOKEN_FILE)");
    command->add_option("--ca", arguments->server.ca, "The orchestrator's CA certificate (default EPIF_CA)");
    command->footer(std::string("Example:\n  ") + example);
    command->callback([arguments, run, &exit] { exit = run(*arguments); });
    return std::pair(command, arguments);
  };
  const auto files = [](auto& made, bool required) {
    auto* option = made.first->add_option("-f,--file", made.second->files, "Resources: files, folders, or - for stdin");
    if (required) option->required();
  };
  const auto output = [](auto& made, std::vector<std::string> forms) {
    made.first->add_option("-o,--output", made.second->output, "Form of the output")->check(CLI::IsMember(std::move(forms)));
  };
  const auto waiting = [](auto& made, const char* help) {
    made.first->add_flag("--wait", made.second->wait, help);
    made.first->add_option("--timeout", made.second->timeout_s, "Seconds to wait at most")->capture_default_str();
  };
  const auto named = [](auto& made, const char* what) { made.first->add_option("name", made.second->name, what)->required(); };

  auto apply = add("apply", "Create or change resources: all of the input or nothing", run_apply, "epif apply -f examples/");
  files(apply, true);
  auto get = add("get", "Show resources", run_get, "epif get nodes -o wide");
  get.first->add_option("kind", get.second->kind, "Kind: node, policies, Application, ...")->required();
  get.first->add_option("name", get.second->name, "One resource: NAME or DOMAIN/NAME");
  output(get, {"text", "wide", "json", "yaml"});
  auto describe = add("describe", "Show all about one resource", run_describe, "epif describe node umc/modality");
  describe.first->add_option("kind", describe.second->kind, "Kind")->required();
  named(describe, "NAME or DOMAIN/NAME");
  auto remove = add("delete", "Remove resources", run_delete, "epif delete consent p-0042");
  remove.first->add_option("kind", remove.second->kind, "Kind");
  remove.first->add_option("name", remove.second->name, "NAME or DOMAIN/NAME");
  files(remove, false);
  auto watch = add("watch", "Print changes of a kind until interrupted", run_watch, "epif watch applications -o json");
  watch.first->add_option("kind", watch.second->kind, "Kind")->required();
  watch.first->add_option("name", watch.second->name, "Only this resource");
  output(watch, {"text", "json"});
  auto submit = add("submit", "Submit an application; exit 3 if it is denied or unfeasible (with --wait)", run_submit, "epif submit -f app.yaml --wait");
  files(submit, true);
  waiting(submit, "Show the steps until the application is ready or refused");
  auto status = add("status", "Show an application's phase, steps and flows", run_status, "epif status stroke-imaging");
  named(status, "Application");
  output(status, {"text", "json"});
  auto explain = add("explain", "Say why a flow is carried as it is, or not; exit 3 if it is not", run_explain, "epif explain stroke-imaging send-images");
  named(explain, "Application");
  explain.first->add_option("flow", explain.second->flow, "Flow")->required();
  auto stop = add("stop", "Stop an application; it stays known, and applying it again starts it", run_stop, "epif stop stroke-imaging --wait");
  named(stop, "Application");
  waiting(stop, "Wait until nothing of it is left");
  auto audit = add("audit", "Print the audit log", run_audit, "epif audit --verify");
  audit.first->add_flag("--verify", audit.second->verify, "Check the chain of hashes; exit 3 if it is broken");
}

}  // namespace epif::app
