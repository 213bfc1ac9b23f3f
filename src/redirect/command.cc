#include "redirect/command.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <optional>

#include "redirect/confine.h"

namespace epif::redirect {
namespace {

struct Account {
  uid_t user;
  gid_t group;
  std::vector<gid_t> groups;
};

Result<Account> account(const std::string& name) {
  const auto* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return fail(Code::not_found, "no such user", name);
  Account found{entry->pw_uid, entry->pw_gid, std::vector<gid_t>(256)};
  int count = static_cast<int>(found.groups.size());
  if (::getgrouplist(name.c_str(), found.group, found.groups.data(), &count) < 0) {
    return fail(Code::limit, "the user is in too many groups", name);
  }
  found.groups.resize(static_cast<std::size_t>(count));
  return found;
}

void say(const char* text) { [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text)); }

/// In the child, between fork and exec: only async-signal-safe calls.
[[noreturn]] void become(char* const* arguments, const std::optional<Account>& as) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  // The program gets the standard streams and nothing else: a listener of ours in its hands would outlive us.
  ::close_range(STDERR_FILENO + 1, ~0u, 0);
  if (!deny_unguarded_sockets()) {
    say("epif: cannot keep the command from sockets that no guard sees\n");
    ::_exit(126);
  }
  if (as && (::setgroups(as->groups.size(), as->groups.data()) != 0 || ::setgid(as->group) != 0 || ::setuid(as->user) != 0)) {
    say("epif: cannot change the user of the command\n");
    ::_exit(126);
  }
  ::execvp(arguments[0], arguments);
  const int code = errno == ENOENT ? 127 : 126;
  say("epif: cannot run the command ");
  say(arguments[0]);
  say(code == 127 ? ": not found\n" : ": not executable\n");
  ::_exit(code);
}

}  // namespace

Result<Child> start_command(const std::vector<std::string>& words, const std::string& user) {
  assert(!words.empty());
  std::optional<Account> as;
  if (!user.empty()) {
    auto found = account(user);
    if (!found) return fail(std::move(found.error()));
    as = std::move(*found);
  }
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const auto pid = ::fork();
  if (pid < 0) return fail(system_error(errno, "cannot start the command", words.front()));
  if (pid == 0) become(arguments.data(), as);
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return fail(system_error(errno, "cannot watch the command", words.front()));
  return Child{pid, std::move(process)};
}

std::optional<int> exit_code(const Child& child) {
  int status = 0;
  if (::waitpid(child.pid, &status, WNOHANG) != child.pid) return {};
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace epif::redirect
