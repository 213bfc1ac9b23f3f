#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "base/fd.h"
#include "model/route.h"
#include "net/file_watch.h"
#include "net/loop.h"
#include "net/task.h"
#include "nginx/instance.h"
#include "nginx/served.h"

/// The NGINX method on a proxy node, from start to a clean stop: what `epif nginx` runs.
namespace epif::nginx {

struct Settings {
  std::string routes;  ///< routes.json, followed while it changes
  std::string state = "/run/epif/nginx";
  std::string program = "/usr/sbin/nginx";
};

struct Stats {
  std::uint64_t generation = 0;  ///< of the routes that are served, all of them and nothing else
  std::uint64_t clients = 0;     ///< each has its NGINX
  std::uint64_t reloads = 0;
  std::uint64_t cuts = 0;       ///< routes whose flows were cut: withdrawn, or too much in the direction without data
  std::uint64_t unsettled = 0;  ///< NGINX that do not serve what is wanted yet, or cannot
};

/// Holds every client's NGINX and the kernel's gate before them to routes.json. Order of a change: the gate closes what is
/// withdrawn, its flows are cut, then NGINX reloads, and the gate opens what is new. If NGINX refuses its configuration, the
/// old one goes on serving what is still permitted, the gate keeps the rest closed, and generation() stays behind.
class Service {
 public:
  /// Errors: permission (not root), unsupported (no NGINX, no stream module, a kernel that cannot end sockets), conflict
  /// (the state folder is in use), those of the routes file. Blocks SIGINT and SIGTERM for this thread and those it starts.
  [[nodiscard]] static Result<std::unique_ptr<Service>> start(Settings settings);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Serves until SIGINT or SIGTERM; then cuts all flows, ends every NGINX and removes the gate.
  [[nodiscard]] Result<> run();
  /// Any thread.
  [[nodiscard]] Stats stats() const;

 private:
  explicit Service(Settings settings) : settings_(std::move(settings)) {}
  [[nodiscard]] Result<> find_program();
  [[nodiscard]] Result<> load();
  void adopt_folders();
  void reload();
  void follow();  ///< brings everything in line with table_
  void note();    ///< after any change: gate, generation
  [[nodiscard]] Result<> set_gate();
  [[nodiscard]] Instance& instance(const std::string& folder);
  void tick();
  void count();
  [[nodiscard]] Result<> take_down();
  net::Task<void> watch_signals();

  Settings settings_;
  Program program_;
  Fd lock_;
  std::unique_ptr<net::Loop> loop_;
  Fd signals_;
  std::unique_ptr<net::Interest> signal_interest_;
  RouteTable table_;
  Served wanted_;                                               ///< by folder name
  std::map<std::string, std::unique_ptr<Instance>> instances_;  ///< the same
  std::string gate_;                                            ///< the script that is in force
  net::Loop::Timer expiry_;
  net::Loop::Timer retry_;
  net::Loop::Timer tick_;
  net::Loop::Timer noting_;
  std::atomic<std::uint64_t> generation_ = 0;
  std::atomic<std::uint64_t> clients_ = 0;
  std::atomic<std::uint64_t> reloads_ = 0;
  std::atomic<std::uint64_t> cuts_ = 0;
  std::atomic<std::uint64_t> unsettled_ = 0;
};

/// Ends what a service left in `state`, whatever ended it: every NGINX, their flows, the gate, the folder. Code::conflict
/// while one runs there.
[[nodiscard]] Result<> clean_up(const std::string& state);

[[nodiscard]] std::string metrics_text(const Stats& stats);

}  // namespace epif::nginx
