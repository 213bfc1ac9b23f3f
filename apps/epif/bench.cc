#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "command.h"

/// `epif bench`: the experiments live in the source tree (bench/run), since they need rival programs and a plotting package.
namespace epif::app {
namespace {

constexpr auto examples = R"(Examples:
  epif bench latency --topology docker1 --only direct,epif
  epif bench rate keepalive --quick
  epif bench latency --rtt 20/5/25 --loss 0.5
  epif bench throughput --out /tmp/results
  epif bench all                   everything: two hours
  epif bench all --quick           everything with fewer repeats: five minutes
  epif bench latency --help        all options)";

/// bench/run of the source tree that this program was built in, or that one works in.
Result<std::filesystem::path> find_bench() {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  for (auto at : {self.parent_path(), std::filesystem::current_path(ignored)}) {
    for (; !at.empty(); at = at.parent_path()) {
      if (std::filesystem::exists(at / "bench/run", ignored)) return at / "bench/run";
      if (at == at.root_path()) break;
    }
  }
  return fail(Code::not_found, "the experiments are not here", "bench/run", "they are part of the source tree",
              "call it there, or give `make bench` in the source tree");
}

Exit run(const std::vector<std::string>& words) {
  const auto bench = find_bench();
  if (!bench) return report(bench.error());
  std::vector<std::string> line{*bench};
  line.insert(line.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (auto& word : line) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::error_code ignored;
  ::setenv("EPIF", std::filesystem::read_symlink("/proc/self/exe", ignored).c_str(), 0);
  ::execv(arguments[0], arguments.data());
  return report(system_error(errno, "cannot start the experiments", *bench));
}

}  // namespace

void add_bench(CLI::App& root, Exit& exit) {
  auto* command = root.add_subcommand("bench", "Run the papers' experiments, with peers and epif side by side");
  command->footer(examples);
  command->prefix_command();
  command->callback([command, &exit] {
    auto words = command->remaining();
    if (words.empty()) throw CLI::CallForHelp();  // hours of work are asked for by name
    if (words.front() == "all") words.erase(words.begin());
    exit = run(words);
  });
}

}  // namespace epif::app
