#include "agent/nginx_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "agent/probe.h"
#include "base/log.h"

namespace epif::agent {

NginxKeeper::NginxKeeper(std::string program, std::string folder, std::string routes, std::string admin,
                         const std::string& log)
    : program_(std::move(program)),
      folder_(std::move(folder)),
      routes_(std::move(routes)),
      admin_(std::move(admin)),
      log_(log),
      daemon_("nginx", log, routes_, false) {}

void NginxKeeper::keep(const RouteTable& written) {
  lacking_.clear();
  needed_ = std::ranges::any_of(written.routes, [](const Route& route) { return route.nginx.has_value(); });
  if (!needed_) {
    if (auto gone = take_down(); !gone) {
      lacking_ = gone.error().text();
      log::error("agent", gone.error());
    }
    return;
  }
  if (!daemon_.ensure({program_, "nginx", "--routes", routes_, "--state", folder_, "--admin", "unix:" + admin_})) {
    lacking_ = daemon_.trouble();
    return;
  }
  const auto loaded = loaded_generation(admin_);
  if (!loaded)
    lacking_ = "nginx does not answer yet";
  else if (*loaded != written.generation)
    lacking_ = fmt::format("nginx serves routes {}, not yet {}", *loaded, written.generation);
}

void NginxKeeper::hold(const std::string& why) {
  lacking_ = why;
  if (auto gone = take_down(); !gone) log::error("agent", gone.error());
}

Result<> NginxKeeper::take_down() {
  // A kill of the command would leave NGINX serving; asked to stop, it cuts all flows. What a crash left is ended after it.
  std::error_code ignored;
  if (!daemon_.running() && !std::filesystem::exists(folder_, ignored)) return {};
  if (auto stopped = daemon_.stop(); !stopped) return stopped;
  std::filesystem::remove(admin_, ignored);
  if (!std::filesystem::exists(folder_, ignored)) return {};
  return Daemon("nginx-cleanup", log_, "").run({program_, "nginx", "--cleanup", "--state", folder_});
}

std::optional<PartState> NginxKeeper::part() const {
  if (!needed_) return {};
  const bool up = daemon_.running();
  const auto trouble = daemon_.trouble();
  const bool hopeless = !up && !trouble.empty() && trouble != "not started yet";
  return PartState{"nginx", up ? "running" : hopeless ? "failed" : "starting", daemon_.pid(), up ? "" : trouble};
}

}  // namespace epif::agent
