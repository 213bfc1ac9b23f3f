#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "model/route.h"
#include "net/loop.h"
#include "nginx/configuration.h"

namespace epif::nginx {

struct Program {
  std::string path = "/usr/sbin/nginx";
  Build build;
};

/// One client's NGINX, held to its routes. All calls and callbacks on the loop's thread.
///
/// What is withdrawn is cut before anything else, with an error at both ends: the processes stop for the moment in which the
/// kernel ends their sockets, or NGINX would end one leg politely when it loses the other. Then the new configuration is
/// tested, put in place, and NGINX reloads: flows that stay are carried to their end by the workers that hold them.
///
/// It goes on when this object's process dies, and the next one adopts it.
class Instance {
 public:
  /// `changed`: settled() or trouble() is other than before. Adopts what runs in `folder`; what cannot be adopted is ended.
  Instance(net::Loop& loop, std::string folder, const Program& program, std::function<void()> changed);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  /// The routes to be served from now on. When this returns, flows of all others are cut.
  void want(std::vector<Route> routes);
  /// Cuts the flows that run now on these routes, and goes on serving them.
  void cut(const std::vector<Route>& routes);
  /// Looks whether NGINX still runs, and replaces it if not. To be called often.
  void check();
  /// Cuts everything, ends NGINX and removes its folder. Errors: timeout.
  [[nodiscard]] Result<> end();

  /// What NGINX may be listening for: more than wanted() while a change is on its way, or was refused.
  [[nodiscard]] const std::vector<Route>& may_serve() const { return may_serve_; }
  [[nodiscard]] const std::vector<Route>& wanted() const { return wanted_; }
  /// NGINX serves exactly what is wanted.
  [[nodiscard]] bool settled() const { return settled_; }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }  ///< for people; empty: none
  [[nodiscard]] std::uint64_t reloads() const { return reloads_; }

 private:
  void adopt();
  void advance();
  void look();
  void settle();
  void failed(const Error& error);
  void remember(const std::vector<Route>& routes);
  [[nodiscard]] Result<> start_or_reload();
  [[nodiscard]] bool in_force() const;
  [[nodiscard]] bool ready() const;
  void hold(int pid);

  net::Loop& loop_;
  std::string folder_;
  const Program& program_;
  std::function<void()> changed_;
  std::vector<Route> wanted_;
  std::vector<Route> may_serve_;
  std::string in_force_;  ///< the configuration that NGINX has taken
  bool settled_ = false;
  std::string trouble_;
  std::uint64_t reloads_ = 0;
  int master_ = 0;
  Fd handle_;                ///< its pidfd
  std::vector<int> before_;  ///< processes before the reload that is on its way
  net::TimePoint deadline_{};
  std::chrono::milliseconds back_off_{0};
  net::Loop::Timer timer_;
};

/// Ends the connections of these processes that belong to `routes`, at both legs; the processes are stopped meanwhile. A
/// server's leg does not tell its route, so where a route of `staying` leads to the same server, and no client is connected
/// by the other one, the server's legs are left alone.
[[nodiscard]] Result<> cut_sockets(const std::string& folder, const std::vector<Route>& routes,
                                   const std::vector<Route>& staying);
/// Ends all their connections, and them, before they can do anything in between: closing sockets would be a polite end. They
/// are killed even if the former fails.
[[nodiscard]] Result<> end_all(const std::string& folder);

}  // namespace epif::nginx
