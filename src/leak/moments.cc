#include "leak/moments.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/limits.h"
#include "bridge/unix_http.h"
#include "leak/bare_lab.h"
#include "leak/child.h"
#include "leak/flood.h"
#include "leak/moments_folder.h"
#include "leak/tap.h"
#include "model/route.h"

namespace epif::leak {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds patience{limits::leak_moment_ms};
constexpr std::uint64_t rounds_a_look = 100;  ///< the guarded program tries this often before a moment counts as over
constexpr int swaps = 10;

struct Pipe {
  Fd read, write;
  static Result<Pipe> make() {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error(errno, "cannot make a pipe"));
    return Pipe{Fd(ends[0]), Fd(ends[1])};
  }
};

/// A flood somewhere below us: we hold its stdin open and hear its rounds.
class Running {
 public:
  static Result<Running> start(std::vector<std::string> words, const Fd& space, const std::string& log, const std::string& token,
                               FloodTo to = FloodTo::target) {
    for (const auto& word : {std::string("leak-test"), "--flood=" + token}) words.push_back(word);
    if (to == FloodTo::witness) words.emplace_back("--flood-witness");
    auto input = Pipe::make();
    auto output = Pipe::make();
    if (!input || !output) return fail(Code::no_descriptors, "cannot make a pipe");
    ::fcntl(output->read.get(), F_SETFL, O_NONBLOCK);
    auto child = Child::start(words, space, input->read, output->write, log);
    if (!child) return fail(std::move(child.error()));
    return Running(std::move(*child), std::move(input->write), std::move(output->read));
  }

  /// True once `more` further rounds were done; false if that takes too long or the flood ended.
  bool rounds(std::uint64_t more, const std::stop_token& stop) {
    hear(milliseconds(0));
    const auto wanted = last_ + more;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (last_ < wanted && !ended_ && !stop.stop_requested() && std::chrono::steady_clock::now() < deadline) hear(milliseconds(20));
    return last_ >= wanted;
  }
  /// Closes its stdin and waits until nothing below us lives that could send.
  bool finish() {
    input_.reset();
    return wait_for_end();
  }
  bool wait_for_end() {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!ended_ && std::chrono::steady_clock::now() < deadline) hear(milliseconds(20));
    return ended_;
  }
  Child child;

 private:
  Running(Child started, Fd input, Fd output) : child(std::move(started)), input_(std::move(input)), output_(std::move(output)) {}
  void hear(milliseconds wait) {
    pollfd ready{output_.get(), POLLIN, 0};
    ::poll(&ready, 1, static_cast<int>(wait.count()));
    std::array<char, 4096> text;
    for (;;) {
      const auto got = ::read(output_.get(), text.data(), text.size());
      if (got == 0) ended_ = true;
      if (got <= 0) return;
      for (const char c : std::string_view(text.data(), static_cast<std::size_t>(got))) {
        if (c == '\n') {
          last_ = number_;
          number_ = 0;
        } else {
          number_ = number_ * 10 + static_cast<std::uint64_t>(c - '0');
        }
      }
    }
  }
  Fd input_;
  Fd output_;
  std::uint64_t last_ = 0;
  std::uint64_t number_ = 0;
  bool ended_ = false;
};

class Moments {
 public:
  Moments(BareLab& lab, Tap& receiver, std::string folder, const OnFinding& found, const std::stop_token& stop)
      : lab_(lab), receiver_(receiver), folder_(std::move(folder)), found_(found), stop_(stop) {}

  Result<std::vector<Finding>> go() {
    auto known = controls();
    if (!known) return fail(std::move(known.error()));
    auto lived = life();
    if (!lived) return fail(std::move(lived.error()));
    if (!stop_.stop_requested()) {
      auto ended = stopping();
      if (!ended) return fail(std::move(ended.error()));
    }
    return std::move(lines_);
  }

 private:
  /// Before any rule the target must be reached over the uplink, over the detour without it, and over the uplink made again.
  Result<> controls() {
    auto seen = control(FloodTo::target, BareLab::device);
    if (!seen) return seen;
    if (auto gone = lab_.remove_link(); !gone) return gone;
    if (seen = control(FloodTo::target, BareLab::second_device); !seen) return seen;
    if (auto back = lab_.make_link(); !back) return back;
    if (seen = control(FloodTo::target, BareLab::device); !seen) return seen;
    receiver_.read();
    receiver_.seen.clear();
    return {};
  }

  /// Each kind of the flood must reach the receiver by `link`. What else is seen is kept: it may be the guarded program's.
  Result<> control(FloodTo to, std::string_view link) {
    const auto token = make_token();
    const auto device = lab_.far_index(link);
    auto flood = Running::start({}, lab_.near(), log(), token, to);
    if (!flood) return fail(std::move(flood.error()));
    std::set<std::string> kinds;
    std::size_t read = receiver_.seen.size();
    receiver_.read_until(
        [&] {
          for (; read < receiver_.seen.size(); ++read) {
            const auto& packet = receiver_.seen[read];
            if (packet.device == device) kinds.insert(flood_kind(packet, token, to));
          }
          return stop_.stop_requested() || std::ranges::includes(kinds, flood_kinds());
        },
        patience);
    static_cast<void>(flood->finish());
    std::string unseen;
    for (const auto& kind : flood_kinds()) {
      if (!kinds.contains(kind)) unseen += (unseen.empty() ? "" : ", ") + kind;
    }
    if (!unseen.empty()) missing_ += fmt::format("{}{} by the {}", missing_.empty() ? "" : "; ", unseen, link);
    return {};
  }

  /// Start, swaps, interface, crash and restart, one after the other, with one guarded program.
  Result<> life() {
    token_ = make_token();
    auto written = write_routes(true);
    if (!written) return written;
    auto guarded = Running::start(redirect({"--exec", "/proc/self/exe"}), lab_.near(), log(), token_);
    if (!guarded) return fail(std::move(guarded.error()));
    conclude("start", guarded->rounds(rounds_a_look, stop_));
    bool swapped = true;
    for (int i = 0; i < swaps && swapped && !stop_.stop_requested(); ++i) {
      written = write_routes(i % 2 != 0);
      if (!written) return written;
      swapped = follows(generation_) && guarded->rounds(rounds_a_look / swaps, stop_);
    }
    conclude("rule-swap", swapped);
    auto gone = lab_.remove_link();
    if (!gone) return gone;
    // All goes by the other link now, also what the guarded program sends. That it would arrive tells an address beside the target.
    if (auto seen = control(FloodTo::witness, BareLab::second_device); !seen) return seen;
    conclude("interface-removed", guarded->rounds(rounds_a_look, stop_));
    auto back = lab_.make_link();
    if (!back) return back;
    if (auto seen = control(FloodTo::witness, BareLab::device); !seen) return seen;
    conclude("interface-returned", guarded->rounds(rounds_a_look, stop_));
    guarded->child.signal(SIGKILL);
    const bool dead = guarded->child.wait(patience);
    conclude("crash", dead && guarded->rounds(rounds_a_look, stop_));
    const auto nothing = Pipe::make();
    if (!nothing) return fail(nothing.error());
    auto again = Child::start(redirect({}), lab_.near(), nothing->read, nothing->write, log());
    if (!again) return fail(std::move(again.error()));
    conclude("restart-after-crash", follows(generation_) && guarded->rounds(rounds_a_look, stop_));
    const bool ended = guarded->finish();
    again->signal(SIGTERM);
    if (!ended || !again->wait(patience)) return fail(Code::timeout, "a process of the lab does not end", "leak-test");
    return {};
  }

  /// The redirector is asked to stop; its guarded program takes its time, and the rules must wait for it.
  Result<> stopping() {
    token_ = make_token();
    auto guarded = Running::start(redirect({"--exec", "/proc/self/exe"}), lab_.near(), log(), token_);
    if (!guarded) return fail(std::move(guarded.error()));
    const bool began = guarded->rounds(rounds_a_look, stop_);
    // Between the two redirectors there were no rules, and the kernel may have ended old connections by itself.
    receiver_.read();
    receiver_.seen.clear();
    guarded->child.signal(SIGTERM);
    const bool ended = guarded->wait_for_end() && guarded->child.wait(patience);
    conclude("stop", began && ended);
    return {};
  }

  /// What the receiver saw since the last call decides. `happened`: the step took place and the program tried meanwhile.
  void conclude(const std::string& moment, bool happened) {
    if (stop_.stop_requested()) return;
    std::uint64_t seen = 0;
    std::set<std::string> kinds;
    receiver_.read();
    for (const auto& packet : receiver_.seen) {
      const auto kind = flood_kind(packet, token_);
      if (kind.empty()) continue;
      ++seen;
      kinds.insert(kind);
    }
    receiver_.seen.clear();
    Finding line{"moment", moment, Verdict::held, fmt::format("the guarded program tried {} ways all the time, the receiver saw nothing", flood_kinds().size())};
    if (seen != 0) {
      line.verdict = Verdict::leak;
      line.why = fmt::format("the receiver saw {} packets: {}", seen, fmt::join(kinds, ", "));
    } else if (!happened) {
      line.verdict = Verdict::not_proven;
      line.why = "the step did not take place in time" + last_words();
    } else if (!missing_.empty()) {
      line.verdict = Verdict::not_proven;
      line.why = "of the control the receiver did not see " + missing_;
    } else if (receiver_.lost() != 0) {
      line.verdict = Verdict::not_proven;
      line.why = fmt::format("the receiver lost {} packets", receiver_.lost());
    }
    found_(line);
    lines_.push_back(std::move(line));
  }

  [[nodiscard]] std::string last_words() const {
    std::ifstream file(log());
    std::string last;
    for (std::string line; std::getline(file, line);) last = line;
    return last.empty() ? "" : ": " + last;
  }

  [[nodiscard]] std::vector<std::string> redirect(std::vector<std::string> more) const {
    std::vector<std::string> words{"redirect", "--routes", folder_ + "/routes.json", "--state", folder_, "--warm", "0", "--trunk", "off",
                                   "--threads", "1", "--admin", "unix:" + folder_ + "/admin.sock"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  /// The next table: with a route to the target, or without any, which must leave the target captured.
  Result<> write_routes(bool with_target) {
    RouteTable table;
    table.node = "lab/near";
    table.generation = ++generation_;
    for (const bool v6 : {false, true}) {
      if (!with_target) continue;
      Route route;
      route.id = v6 ? "six" : "four";
      route.flow = "leak-test/" + route.id;
      route.destination = {{BareLab::target(v6), static_cast<std::uint8_t>(v6 ? 128 : 32)}, {}};
      route.next = NextHop{{BareLab::gate(v6), 1080}, {}, {}};
      table.routes.push_back(std::move(route));
    }
    const auto path = folder_ + "/routes.json";
    {
      std::ofstream file(path + ".new", std::ios::trunc);
      file << print_routes(table);
      if (!file.flush()) return fail(Code::io, "cannot write routes", path);
    }
    std::error_code failure;
    std::filesystem::rename(path + ".new", path, failure);
    if (failure) return fail(Code::io, "cannot write routes", path, failure.message());
    return {};
  }

  /// True once the redirector says that it follows the table.
  [[nodiscard]] bool follows(std::uint64_t generation) const {
    const auto wanted = fmt::format("epif_redirect_routes_generation {}\n", generation);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline && !stop_.stop_requested()) {
      const auto answer = bridge::unix_http(folder_ + "/admin.sock", "GET", "/metrics", {}, {}, limits::admin_deadline_ms);
      if (answer && answer->body.contains(wanted)) return true;
      ::poll(nullptr, 0, 10);  // between two looks
    }
    return false;
  }

  [[nodiscard]] std::string log() const { return folder_ + "/log"; }

  BareLab& lab_;
  Tap& receiver_;
  std::string folder_;
  const OnFinding& found_;
  const std::stop_token& stop_;
  std::vector<Finding> lines_;
  std::string missing_;  ///< kinds whose control was not seen
  std::string token_;
  std::uint64_t generation_ = 0;
};

}  // namespace

Result<std::vector<Finding>> try_moments(const OnFinding& found, const std::stop_token& stop) {
  auto folder = OwnFolder::make();
  if (!folder) return fail(std::move(folder.error()));
  auto lab = BareLab::make();
  if (!lab) return fail(std::move(lab.error()));
  Result<std::unique_ptr<Tap>> receiver = [&] {
    const Inside there((*lab)->far());
    return Tap::open(Direction::arriving);
  }();
  if (!receiver) return fail(std::move(receiver.error()));
  return Moments(**lab, **receiver, folder->path(), found, stop).go();
}

}  // namespace epif::leak
