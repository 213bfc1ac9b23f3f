#include <boost/json.hpp>

#include "bridge/engine.h"

namespace epif::bridge {
namespace {

namespace json = boost::json;

// What a program that copies between given descriptors needs: memory, threads, time, epoll, its own socket. Everything else
// is refused with EPERM, among it connect, ptrace, mount, bpf, io_uring, and opening devices has no path in an empty root.
constexpr const char* allowed[] = {
    "accept", "accept4", "access", "arch_prctl", "bind", "brk", "capget", "capset", "chdir", "chmod", "clock_getres",
    "clock_gettime", "clock_nanosleep", "clone", "clone3", "close", "close_range", "dup", "dup2", "dup3", "epoll_create1",
    "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat",
    "faccessat2", "fchdir", "fchmod", "fchmodat", "fchown", "fcntl", "fstat", "fstatfs", "fsync", "ftruncate", "futex", "getcwd",
    "getdents64", "getegid", "geteuid", "getgid", "getgroups", "getpeername", "getpgrp", "getpid", "getppid", "getrandom",
    "getresgid", "getresuid", "getrlimit", "getrusage", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "ioctl",
    "kill", "listen", "lseek", "lstat", "madvise", "mkdir", "mkdirat", "mmap", "mprotect", "mremap", "munmap", "nanosleep",
    "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "poll", "ppoll", "prctl", "pread64", "prlimit64", "pselect6",
    "pwrite64", "read", "readlink", "readlinkat", "readv", "recvfrom", "recvmmsg", "recvmsg", "rename", "renameat", "renameat2",
    "restart_syscall", "rmdir", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "sched_getaffinity", "sched_yield", "select", "sendfile",
    "set_robust_list", "set_tid_address", "setgid", "setgroups", "setitimer", "setresgid", "setresuid", "setsockopt", "setuid",
    "shutdown", "sigaltstack", "signalfd4", "splice", "stat", "statfs", "statx", "sysinfo", "tee", "tgkill", "timerfd_create",
    "timerfd_settime", "times", "umask", "uname", "unlink", "unlinkat", "utimensat", "wait4", "waitid", "write", "writev"};

json::object rule(const json::array& names, const json::array& conditions) {
  return {{"names", names}, {"action", "SCMP_ACT_ALLOW"}, {"args", conditions}};
}

json::object equals_unix(int argument) {
  constexpr int af_unix = 1;
  return {{"index", argument}, {"value", af_unix}, {"op", "SCMP_CMP_EQ"}};
}

// MSG_FASTOPEN is a connect in disguise: it opens a socket that was reset anew, to anywhere.
json::object without_fast_open(int argument) {
  constexpr int msg_fast_open = 0x2000'0000;
  return {{"index", argument}, {"value", msg_fast_open}, {"valueTwo", 0}, {"op", "SCMP_CMP_MASKED_EQ"}};
}

}  // namespace

std::string trusted_seccomp_profile() {
  json::array names;
  for (const auto* name : allowed) names.emplace_back(name);
  json::object profile;
  profile["defaultAction"] = "SCMP_ACT_ERRNO";
  profile["defaultErrnoRet"] = 1;  // EPERM
  profile["architectures"] = json::array{"SCMP_ARCH_X86_64"};  // no 32-bit entry with its socketcall()
  profile["syscalls"] = json::array{rule(names, {}), rule({"socket", "socketpair"}, {equals_unix(0)}),
                                   rule({"sendto", "sendmmsg"}, {without_fast_open(3)}), rule({"sendmsg"}, {without_fast_open(2)})};
  return json::serialize(profile);
}

}  // namespace epif::bridge
