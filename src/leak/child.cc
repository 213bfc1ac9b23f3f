#include "leak/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <utility>

namespace epif::leak {
namespace {

/// Only calls that are safe between fork and exec.
[[noreturn]] void become(char* const* arguments, int space, int input, int output, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const bool orphan = ::getppid() != parent;
  const bool ready = !orphan && ::setns(space, CLONE_NEWNET) == 0 && ::dup2(input, 0) >= 0 && ::dup2(output, 1) >= 0 && ::dup2(log, 2) >= 0;
  if (ready) ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

}  // namespace

Result<Child> Child::start(const std::vector<std::string>& words, const Fd& space, const Fd& input, const Fd& output, const std::string& log) {
  const Fd log_file(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log_file) return fail(system_error(errno, "cannot write", log));
  std::vector<std::string> kept{"epif"};
  kept.insert(kept.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (auto& word : kept) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const auto parent = ::getpid();
  const auto pid = ::fork();
  if (pid < 0) return fail(system_error(errno, "cannot start", words.front()));
  if (pid == 0) become(arguments.data(), space.get(), input.get(), output.get(), log_file.get(), parent);
  Child child(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  if (!child.process_) return fail(system_error(errno, "cannot watch", words.front()));
  return child;
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), process_(std::move(other.process_)) {}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Child::signal(int number) const {
  if (pid_ >= 0) ::kill(pid_, number);
}

bool Child::wait(std::chrono::milliseconds patience) {
  if (pid_ < 0) return true;
  pollfd ended{process_.get(), POLLIN, 0};
  if (::poll(&ended, 1, static_cast<int>(patience.count())) != 1) return false;
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
  return true;
}

bool Child::running() { return !wait(std::chrono::milliseconds(0)); }

}  // namespace epif::leak
