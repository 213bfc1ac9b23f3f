#pragma once
#include <optional>
#include <string>

#include "agent/daemon.h"
#include "model/assignment.h"

namespace epif::agent {

/// `epif nginx` beside the proxy of a proxy node: it runs while the table has routes of method nginx.
class NginxKeeper {
 public:
  /// `folder`: its state; `admin`: path of its admin socket.
  NginxKeeper(std::string program, std::string folder, std::string routes, std::string admin, const std::string& log);

  /// Holds it to the table that was written: starts, adopts or ends it.
  void keep(const RouteTable& written);
  /// The routes on disk allow what was taken away: ends it and NGINX with it, until keep(). Flows get an error at both ends.
  void hold(const std::string& why);
  /// Ends it and everything that it, or an earlier one that crashed, left.
  [[nodiscard]] Result<> take_down();

  /// What keeps the table from being in place; empty: nothing.
  [[nodiscard]] const std::string& lacking() const { return lacking_; }
  /// The process as the report names it; nothing if none is needed.
  [[nodiscard]] std::optional<PartState> part() const;
  [[nodiscard]] int watch_fd() const { return daemon_.watch_fd(); }

 private:
  std::string program_;
  std::string folder_;
  std::string routes_;
  std::string admin_;
  std::string log_;
  Daemon daemon_;
  bool needed_ = false;
  std::string lacking_;
};

}  // namespace epif::agent
