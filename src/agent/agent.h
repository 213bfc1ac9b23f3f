#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/assigned.h"
#include "agent/daemon.h"
#include "agent/instance_keeper.h"
#include "agent/nginx_keeper.h"
#include "agent/settings.h"
#include "agent/speaker.h"
#include "agent/table.h"
#include "api/client.h"
#include "base/fd.h"
#include "model/assignment.h"

namespace epif::agent {

/// Where the agent's files are, all inside of its state folder.
struct Paths {
  explicit Paths(const std::string& state);
  std::string membership;  ///< key, certificate and CA of this host
  std::string identity;    ///< key, certificate and CA that the data plane shows; see show_identity()
  std::string hpke_key;    ///< X25519, proxy only
  std::string assignment;  ///< the last one, so that a restart needs no orchestrator
  std::string routes;      ///< what the data plane reads
  std::string admin;       ///< Unix socket of redirector or proxy
  std::string log;         ///< what redirector or proxy write
  std::string redirect;    ///< the redirector's own folder
  std::string nginx;        ///< folder of `epif nginx`, proxy only
  std::string nginx_admin;  ///< its Unix socket
  std::string removed;      ///< mark: the node was removed, and what it has is being taken down
  std::string lock;
};

/// One host's agent: holds the machine to its Assignment. Level-triggered: it watches, compares, acts, reports. What it
/// starts outlives its crash and is adopted by the next run; with the orchestrator dead everything goes on until routes
/// expire. Revocations are written to the data plane before anything slow is begun.
class Agent {
 public:
  /// Joins if this host has not yet. Errors: permission (no root), conflict (another agent has this folder, or the folder
  /// belongs to another node), those of api::join; nothing is left behind by a failed start.
  [[nodiscard]] static Result<std::unique_ptr<Agent>> start(Settings settings);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  /// Works until `stop`, then takes down all that it made: processes, rules, containers, engine storage.
  [[nodiscard]] Result<> run(const std::stop_token& stop);

 private:
  Agent(Settings settings, Paths paths, Fd lock, api::Membership member);
  void read_saved();
  void watch();
  void heard(bool news);
  void wait();
  void step();
  void write_routes(const Assignment& assignment, const InstanceViews& views);
  void note_write(const Result<>& saved, const Result<>& written);
  void hold_daemon(const std::string& why);
  void shut_diversions();
  void keep_identity();
  void keep_daemon(const Assignment& assignment);
  void end_deaf_daemon();
  void end_orphans();
  void watch_instances(const InstanceViews& views);
  void send_report(const Assignment& assignment, const InstanceViews& views);
  void step_aside();
  void hold_left(const std::string& why);
  void renew_certificate();
  [[nodiscard]] Result<> take_down();
  [[nodiscard]] std::vector<std::string> command(const Assignment& assignment) const;
  [[nodiscard]] KeeperOptions keeper_options(const Assignment& assignment) const;
  [[nodiscard]] std::optional<KeeperOptions> keeper_options_now();
  [[nodiscard]] api::ClientOptions orchestrator() const;
  void nudge() const;

  Settings settings_;
  Paths paths_;
  Fd lock_;
  api::Membership member_;
  Fd wake_;
  std::shared_ptr<std::mutex> opening_ = std::make_shared<std::mutex>();
  std::mutex mutex_;
  Assigned assigned_;                      ///< guarded
  // The loop's thread alone:
  RouteTable written_;
  std::string write_error_;
  std::string held_;   ///< why redirector or proxy must not run: the routes on disk allow what was taken away
  bool diverts_ = false;  ///< the kernel may still carry to NGINX what is held
  bool saved_ = true;  ///< the assignment on disk is the one that the routes are of
  std::string saved_store_;     ///< the store that it names
  std::uint64_t applied_ = 0;   ///< the last generation that the data plane serves
  std::string applied_store_;   ///< the store that counts it
  std::string public_key_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<NginxKeeper> nginx_;  ///< proxy only
  std::optional<Role> role_;  ///< what is in place; it stays until all of it is taken down
  bool left_ = false;         ///< an earlier run may have left things of which nothing is known
  std::string take_down_error_;
  std::string engine_kind_ = "podman";
  std::unique_ptr<InstanceKeeper> keeper_;
  std::vector<KnownInstance> left_running_;  ///< by an earlier run
  std::vector<WishedInstance> wished_;
  std::vector<Fd> instance_fds_;
  std::vector<std::int64_t> instance_pids_;
  bool orphans_ended_ = false;  ///< no proxy serves, and the functions that it lent streams to are gone
  std::string daemon_error_;
  bool withdrawn_ = true;  ///< the routes on disk may take away what redirector or proxy still allow
  std::optional<std::chrono::steady_clock::time_point> deaf_since_;  ///< it is not replaced, and does not follow its routes either
  std::chrono::steady_clock::time_point renewal_look_{};
  std::unique_ptr<Speaker> speaker_;
  std::vector<std::unique_ptr<api::Watch>> watches_;
};

/// Copies key, certificate and CA of `member` into `folder`; `replace`: also over others that are there. The data plane has its
/// own copy, since a host that joins under a new authority is understood by no other until that one has assigned something.
[[nodiscard]] Result<> show_identity(const api::Membership& member, const std::string& folder, bool replace);

/// The last Assignment on disk. not_found if there is none.
[[nodiscard]] Result<> save_assignment(const std::string& path, const SavedAssignment& saved);
[[nodiscard]] Result<SavedAssignment> load_assignment(const std::string& path);

/// Takes down what an agent left in `state`, whatever ended it: redirector and its rules, proxy, containers, engine storage.
/// The membership stays, so that the host need not join again. Code::conflict while an agent runs there.
[[nodiscard]] Result<> clean_up(const std::string& state, const std::string& program);

}  // namespace epif::agent
