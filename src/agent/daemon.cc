#include "agent/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include "base/limits.h"
#include "base/log.h"
#include "net/handover.h"

extern char** environ;

namespace epif::agent {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> arguments_of(const std::filesystem::path& process) {
  std::ifstream file(process / "cmdline", std::ios::binary);
  std::vector<std::string> out;
  std::string word;
  while (std::getline(file, word, '\0')) out.push_back(word);
  return out;
}

Fd open_pid(std::int64_t pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))); }

bool ended(int pidfd) {
  pollfd look{pidfd, POLLIN, 0};
  return ::poll(&look, 1, 0) > 0;
}

/// What takes over differs by this from what does not.
constexpr std::string_view take_over_flag = "--take-over";

bool is_draining(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name == net::draining_name;
}

/// False as well if one of them cannot be looked at: what runs is not ended for a program that is not there.
bool runs_another_program(std::int64_t pid, const std::string& program) {
  struct stat runs {};
  struct stat wished {};
  if (::stat(("/proc/" + std::to_string(pid) + "/exe").c_str(), &runs) != 0 || ::stat(program.c_str(), &wished) != 0) return false;
  return runs.st_dev != wished.st_dev || runs.st_ino != wished.st_ino;
}

/// Empty if `flag` is not there.
std::string_view value_of(const std::vector<std::string>& command, std::string_view flag) {
  const auto at = std::ranges::find(command, flag);
  return at == command.end() || at + 1 == command.end() ? std::string_view() : std::string_view(*(at + 1));
}

bool has(const std::vector<std::string>& command, std::string_view flag) { return std::ranges::find(command, flag) != command.end(); }

/// Between successors that did not serve. Each attempt costs a start, and asks the process that serves.
constexpr std::chrono::milliseconds successor_retry_least{1000};
constexpr std::chrono::milliseconds successor_retry_most{30'000};

/// 0 if there is no such process.
std::int64_t parent_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(") ");  // "PID (NAME) STATE PARENT"; the name may hold anything
  return name_end == text.npos || name_end + 4 > text.size() ? 0 : std::strtoll(text.c_str() + name_end + 4, nullptr, 10);
}

/// Calls `each` with every living process `PROGRAM NAME ... MARK` of this user, but not with what one of them has just forked: that
/// carries its arguments until it runs another program.
void each_process(const std::string& name, const std::string& mark,
                  const std::function<void(std::int64_t, std::vector<std::string>)>& each) {
  std::map<std::int64_t, std::vector<std::string>> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const auto number = entry.path().filename().string();
    if (number.find_first_not_of("0123456789") != std::string::npos || std::stoll(number) == ::getpid()) continue;
    struct stat owner {};
    if (::stat(entry.path().c_str(), &owner) != 0 || owner.st_uid != ::geteuid()) continue;
    auto arguments = arguments_of(entry.path());
    // argv[1] is the subcommand: a shell or a wrapper that merely carries the same words is not the daemon itself.
    if (arguments.size() < 3 || arguments[1] != name || std::ranges::find(arguments, mark) == arguments.end()) continue;
    found.emplace(std::stoll(number), std::move(arguments));
  }
  for (auto& [pid, arguments] : found) {
    if (!found.contains(parent_of(pid))) each(pid, std::move(arguments));
  }
}

}  // namespace

void Daemon::find() {
  pid_ = 0;
  pidfd_.reset();
  each_process(name_, mark_, [this](std::int64_t pid, std::vector<std::string> arguments) {
    auto pidfd = open_pid(pid);
    if (!pidfd || ended(pidfd.get()) || is_draining(pid)) return;
    pid_ = pid;
    pidfd_ = std::move(pidfd);
    std::erase(arguments, take_over_flag);
    command_ = std::move(arguments);
    started_ = Clock::now();
  });
}

std::vector<std::int64_t> Daemon::draining() const {
  std::vector<std::int64_t> found;
  each_process(name_, mark_, [&](std::int64_t pid, const std::vector<std::string>&) {
    if (pid != pid_) found.push_back(pid);
  });
  return found;
}

bool Daemon::running() const { return pidfd_ && !ended(pidfd_.get()); }

void Daemon::note_end() {
  if (!pidfd_) return;
  ::waitid(P_PID, static_cast<id_t>(pid_), nullptr, WEXITED | WNOHANG);  // ours, if this agent started it
  const bool early = Clock::now() - started_ < std::chrono::seconds(5);
  back_off_ = early ? std::clamp(back_off_ * 2, std::chrono::milliseconds(100), std::chrono::milliseconds(5000))
                    : std::chrono::milliseconds(0);
  retry_at_ = Clock::now() + back_off_;
  trouble_ = "it ended";
  if (const auto line = last_line(); !line.empty()) trouble_ += "; its last words: " + line;
  log::warn("agent", name_ + " ended", {{"pid", std::to_string(pid_)}, {"trouble", trouble_}});
  pid_ = 0;
  pidfd_.reset();
  forget_failed_successor();
}

void Daemon::look(const std::string& program) {
  if (pidfd_ && !running()) note_end();
  if (pidfd_ && is_draining(pid_)) {  // a successor that somebody else started
    pid_ = 0;
    pidfd_.reset();
  }
  // Looked for again after each early end: another one may serve, that of a take-over which did not come about.
  if (!pidfd_ && Clock::now() >= retry_at_) {
    find();
    other_program_ = pidfd_ && runs_another_program(pid_, program);
  }
}

bool Daemon::gone(const std::string& program) {
  if (successor_) return false;
  look(program);
  return !pidfd_;
}

Result<> Daemon::ensure(const std::vector<std::string>& command) {
  std::erase_if(replaced_, [](std::int64_t pid) {
    siginfo_t how{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &how, WEXITED | WNOHANG) != 0 || how.si_pid != 0;
  });
  if (successor_) {
    const auto tried = successor_->command;
    if (auto followed = follow_successor(); !followed) note_failed_successor(tried, followed.error());
    if (successor_) return {};  // until it serves, the old one does
  }
  look(command.front());
  if (pidfd_ && (command_ != command || other_program_)) {
    const bool failed = !not_replaced_.empty() && failed_command_ == command;
    if (failed && must_not_stay(command)) {
      log::warn("agent", name_ + " is started anew, and its flows are lost", {{"why", not_replaced_}});
      if (auto ended = end(SIGKILL); !ended) return ended;
      return fail(Code::io, name_ + " was ended, and is to be started anew", log_);  // after whoever asks has seen that it is gone()
    } else if (failed && Clock::now() < successor_retry_at_) {
      return command_ == command ? Result<>() : fail(Code::io, name_ + " runs as before, not yet as it is to", log_, not_replaced_);
    } else if (takes_over_) {
      return replace(command);
    }
    // Not a clean stop: that would take the capture rules away, and the node would be open until the next one runs.
    if (auto ended = end(SIGKILL); !ended) return ended;
  }
  if (pidfd_) {
    forget_failed_successor();
    if (Clock::now() - started_ > std::chrono::seconds(5)) back_off_ = std::chrono::milliseconds(0);
    return {};
  }
  if (Clock::now() < retry_at_) return fail(Code::io, name_ + " does not stay up", log_, trouble_);
  return start(command);
}

Result<> Daemon::replace(const std::vector<std::string>& command) {
  auto words = command;
  words.emplace_back(take_over_flag);
  auto started = spawn(words);
  if (!started) {
    note_failed_successor(command, started.error());
    return fail(std::move(started.error()));
  }
  started->command = command;
  successor_ = std::move(*started);
  return {};
}

/// What serves, serves on: a program that cannot start, or finds no descriptors, must not cost the flows of one that can.
void Daemon::note_failed_successor(const std::vector<std::string>& command, const Error& error) {
  const bool again = failed_command_ == command && successor_back_off_.count() > 0;
  successor_back_off_ = again ? std::min(successor_back_off_ * 2, successor_retry_most) : successor_retry_least;
  successor_retry_at_ = Clock::now() + successor_back_off_;
  failed_command_ = command;
  not_replaced_ = name_ + " goes on as it was started before, since its successor failed: " + error.text();
  log::error("agent", error, {{"process", name_}, {"goes_on", std::to_string(pid_)},
                              {"next_ms", std::to_string(successor_back_off_.count())}});
}

void Daemon::forget_failed_successor() {
  not_replaced_.clear();
  failed_command_.clear();
  successor_back_off_ = std::chrono::milliseconds(0);
}

/// What the old one shows or speaks must end, although no successor can take over from it.
bool Daemon::must_not_stay(const std::vector<std::string>& command) const {
  constexpr std::array identity{"--cert", "--key", "--ca", "--hpke-key"};
  const auto differs = [&](const char* flag) { return value_of(command_, flag) != value_of(command, flag); };
  // A proxy's listening socket keeps its protocol, so no successor can ever take it over.
  return std::ranges::any_of(identity, differs) || (name_ == "proxy" && has(command_, "--mptcp") != has(command, "--mptcp"));
}

Result<> Daemon::follow_successor() {
  const bool handed_over = is_draining(pid_) || ended(pidfd_.get());
  if (handed_over) {
    log::info("agent", name_ + " took over", {{"pid", std::to_string(successor_->pid)}, {"from", std::to_string(pid_)}});
    replaced_.push_back(pid_);
    adopt(std::move(*successor_));
    successor_.reset();
    return {};
  }
  const auto deadline = successor_->started + std::chrono::milliseconds(limits::handover_serving_ms);
  if (!ended(successor_->process.get()) && Clock::now() < deadline) return {};
  static_cast<void>(end_one(successor_->pid, successor_->process, SIGKILL));
  const auto why = last_error(successor_->log_from);
  successor_.reset();
  return fail(Code::io, "the successor does not serve", log_, why);
}

void Daemon::adopt(Started process) {
  pid_ = process.pid;
  pidfd_ = std::move(process.process);
  command_ = std::move(process.command);
  started_ = process.started;
  other_program_ = false;
  trouble_.clear();
  forget_failed_successor();
}

Result<> Daemon::start(const std::vector<std::string>& command) {
  auto started = spawn(command);
  if (!started) return fail(std::move(started.error()));
  adopt(std::move(*started));
  return {};
}

Result<Daemon::Started> Daemon::spawn(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, 1, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&files, 1, 2);
  ::posix_spawn_file_actions_addclosefrom_np(&files, 3);
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::error_code unknown;
  const auto written = std::filesystem::file_size(log_, unknown);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, command.front().c_str(), &files, &attributes, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail(system_error(error, "cannot start " + name_, command.front()));
  Started made{pid, open_pid(pid), command, Clock::now(), unknown ? 0 : written};
  // The kernel lets the parent go on a moment before the new arguments can be read; find() knows a process by them.
  while (arguments_of("/proc/" + std::to_string(pid)).empty() && !ended(made.process.get())) ::sched_yield();
  log::info("agent", name_ + " started", {{"pid", std::to_string(pid)}});
  return made;
}

Result<> Daemon::run(const std::vector<std::string>& command, std::chrono::milliseconds patience) {
  if (auto started = start(command); !started) return started;
  pollfd look{pidfd_.get(), POLLIN, 0};
  if (::poll(&look, 1, static_cast<int>(patience.count())) == 0) {
    if (auto stopped = stop(); !stopped) return stopped;
    return fail(Code::timeout, name_ + " was stopped before it was done", log_, last_line());
  }
  siginfo_t how{};
  ::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED | WNOHANG);
  pid_ = 0;
  pidfd_.reset();
  if (how.si_code == CLD_EXITED && how.si_status == 0) return {};
  return fail(Code::io, name_ + " failed", log_, last_line());
}

Result<> Daemon::stop() { return end(SIGTERM); }

Result<> Daemon::halt(const std::string& why) {
  trouble_ = why;
  return end(SIGKILL);
}

Result<> Daemon::end_one(std::int64_t pid, const Fd& pidfd, int signal) const {
  ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
  pollfd look{pidfd.get(), POLLIN, 0};
  if (::poll(&look, 1, static_cast<int>(limits::daemon_stop_ms)) == 0) {
    log::warn("agent", name_ + " does not stop; it is killed", {{"pid", std::to_string(pid)}});
    ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
    if (::poll(&look, 1, static_cast<int>(limits::daemon_stop_ms)) == 0) {
      return fail(Code::timeout, name_ + " cannot be ended", "pid " + std::to_string(pid));
    }
  }
  ::waitid(P_PID, static_cast<id_t>(pid), nullptr, WEXITED | WNOHANG);
  return {};
}

Result<> Daemon::end(int signal) {
  if (!pidfd_) find();
  Result<> first;
  if (pidfd_) first = end_one(pid_, pidfd_, signal);
  for (const auto pid : draining()) {
    const auto pidfd = open_pid(pid);
    if (!pidfd) continue;
    auto done = end_one(pid, pidfd, signal);
    if (!done && first) first = std::move(done);
  }
  if (!first) return first;
  successor_.reset();
  forget_failed_successor();
  pid_ = 0;
  pidfd_.reset();
  back_off_ = std::chrono::milliseconds(0);
  return {};
}

std::string Daemon::trouble() const { return running() ? std::string() : trouble_.empty() ? "not started yet" : trouble_; }

std::string Daemon::last_line() const {
  std::ifstream file(log_, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto size = static_cast<std::streamoff>(file.tellg());
  file.seekg(std::max<std::streamoff>(0, size - 2048));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto line = text.rfind('\n');
  return line == std::string::npos ? text : text.substr(line + 1);
}

std::string Daemon::last_error(std::uintmax_t from) const {
  std::ifstream file(log_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(from));
  std::string found;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("epif: ")) found = line.substr(6);
  }
  return found.empty() ? last_line() : found;
}

}  // namespace epif::agent
