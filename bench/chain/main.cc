// bf_containers: built-in bridging functions in containers, made by the product's own code, without a control plane.
//
//   bf_containers STATE-FOLDER NAME=FUNCTION[,trusted] ...
//
// Starts an engine of its own in STATE-FOLDER. Prints {"name", "function", "trusted", "socket", "peer_pid"} for each, as a
// route's chain has them, and {"ready": true} when all run. At SIGTERM or SIGINT it removes everything, the folder as well.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.h"
#include "bridge/engine.h"
#include "bridge/image.h"
#include "bridge/instance.h"

namespace epif::bench {
namespace {

constexpr const char* tag = "localhost/epif-bf:latest";

int refuse(const Error& error) {
  fmt::print(stderr, "bf_containers: {}\n", error.text());
  return 1;
}

Result<bridge::InstanceSpec> parse(const std::string& word, const std::string& image) {
  const auto equals = word.find('=');
  const auto comma = std::min(word.find(','), word.size());
  if (equals == word.npos || equals == 0 || equals + 1 >= comma ||
      (comma < word.size() && word.substr(comma) != ",trusted")) {
    return fail(Code::usage, "expected NAME=FUNCTION or NAME=FUNCTION,trusted", word);
  }
  return bridge::InstanceSpec{.name = word.substr(0, equals),
                              .function = word.substr(equals + 1, comma - equals - 1),
                              .image = image,
                              .trusted = comma < word.size(),
                              .environment = {}};
}

Result<> start(const std::filesystem::path& state, const bridge::EngineService& service,
               const std::vector<std::string>& words) {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "epif-bf";
  const auto image = bridge::make_image(program, tag);
  if (!image) return fail(image.error());
  const bridge::Engine engine(service.socket());
  const auto loaded = engine.load_image(image->archive, tag);
  if (!loaded) return fail(loaded.error());
  bridge::Instances instances(engine, "bench", state);
  for (const auto& word : words) {
    const auto spec = parse(word, loaded->id);
    if (!spec) return fail(spec.error());
    const auto running = instances.ensure_running(*spec);
    if (!running) return fail(running.error());
    fmt::print("{{\"name\": \"{}\", \"function\": \"{}\", \"trusted\": {}, \"socket\": \"{}\", \"peer_pid\": {}}}\n",
               spec->name, spec->function, spec->trusted, running->socket.string(), running->pid);
  }
  fmt::print("{{\"ready\": true}}\n");
  std::fflush(stdout);
  return {};
}

int run(const std::vector<std::string>& words) {
  if (words.size() < 2) {
    fmt::print(stderr, "usage: bf_containers STATE-FOLDER NAME=FUNCTION[,trusted] ...\n");
    return 2;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a caller that is killed must not leave containers
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const Fd stop(::signalfd(-1, &signals, SFD_CLOEXEC));
  const auto state = std::filesystem::absolute(words[0]);
  std::error_code ignored;
  std::filesystem::create_directories(state, ignored);
  auto service = bridge::EngineService::ensure(state);
  if (!service) return refuse(service.error());
  const auto started = start(state, *service, {words.begin() + 1, words.end()});
  if (started) {
    signalfd_siginfo info{};
    static_cast<void>(::read(stop.get(), &info, sizeof info) < 0);  // blocks until a signal comes
  }
  const auto gone = service->destroy();
  std::filesystem::remove_all(state, ignored);
  if (!started) return refuse(started.error());
  return gone ? 0 : refuse(gone.error());
}

}  // namespace
}  // namespace epif::bench

int main(int argc, char** argv) {
  return epif::bench::run({argv + 1, argv + argc});
}
