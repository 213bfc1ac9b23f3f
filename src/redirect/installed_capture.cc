#include "redirect/installed_capture.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/fd.h"
#include "base/log.h"
#include "net/links.h"
#include "net/nft.h"
#include "net/nft_watch.h"
#include "redirect/diverted.h"
#include "redirect/routes.h"

namespace epif::redirect {
namespace {

constexpr std::uint32_t delivery_priority = 100;  // after the local table, before all that leads elsewhere
constexpr std::size_t gone_devices_most = 64;  // names kept for a device's return
constexpr int commit_attempts = 5;  // a device or a cgroup may vanish between listing and commit

/// Rules belong to a network namespace; its inode tells apart namespaces that share a state folder.
std::uint64_t namespace_number() {
  struct stat info{};
  return ::stat("/proc/thread-self/ns/net", &info) == 0 ? info.st_ino : 0;
}

/// The ports of NGINX that had a diversion once and have none now.
std::vector<SocketAddress> retired_by(const CaptureRules& before, const std::vector<Diversion>& now) {
  auto retired = before.retired;
  for (const auto& diversion : before.diversions) retired.push_back(diversion.nginx);
  std::erase_if(retired, [&](const SocketAddress& nginx) { return std::ranges::find(now, nginx, &Diversion::nginx) != now.end(); });
  std::ranges::sort(retired);
  const auto twice = std::ranges::unique(retired);
  retired.erase(twice.begin(), twice.end());
  return retired;
}

std::unexpected<Error> lost(std::string_view what, const std::string& file) {
  return fail(Code::not_found, fmt::format("rules of an earlier redirector are in force, but {} is missing", what), file, {},
              "start with that redirector's --state, or give up its rules with --uninstall");
}

/// For its owner's eyes only: who knows the mark can pass for the redirector.
Result<> write_list(const std::string& path, std::string_view text) {
  const auto fresh = path + ".new";
  ::unlink(fresh.c_str());
  const Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const bool written = file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written || ::rename(fresh.c_str(), path.c_str()) != 0) {
    return fail(Code::io, "cannot write what is captured", path, std::strerror(errno), "choose another --state");
  }
  return {};
}

}  // namespace

InstalledCapture::InstalledCapture(std::uint16_t listen_port, std::string state_dir) : state_dir_(std::move(state_dir)) {
  rules_.listen_port = listen_port;
  list_file_ = state_file(".targets");
  names_file_ = state_file(".names");
}

std::string InstalledCapture::state_file(std::string_view ending) const {
  return fmt::format("{}/redirect-{}-{}{}", state_dir_, namespace_number(), rules_.listen_port, ending);
}

Result<> InstalledCapture::recall() {
  recalled_ = true;
  // Without the rules themselves the lists are a leftover of another life of this namespace's number.
  auto tables = net::nft_tables(table_name(rules_.listen_port));
  if (!tables) return fail(std::move(tables.error()));
  if (!std::ranges::any_of(*tables, [&](const auto& table) { return table.name == table_name(rules_.listen_port); })) return {};
  adopted_ = true;
  if (auto read = recall_targets(); !read) return read;
  return recall_names();
}

Result<> InstalledCapture::recall_targets() {
  std::ifstream file(list_file_);
  if (!file) return lost("the list of what they capture", list_file_);
  for (std::string line; std::getline(file, line);) {
    auto target = CaptureTarget::parse(line);
    if (!target) return fail(Code::invalid_input, "cannot read the list of captured destinations", list_file_, target.error().text());
    rules_.targets.push_back(*target);
  }
  return {};
}

/// Lines "mark NUMBER", "dns PORT" and "name ADDRESS NAME".
Result<> InstalledCapture::recall_names() {
  std::ifstream file(names_file_);
  if (!file) return lost("the list of the names that they answer", names_file_);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, text, name;
    words >> kind >> text;
    const auto number = text.empty() ? 0 : std::strtoul(text.c_str(), nullptr, 0);
    if (kind == "mark" && number != 0) {
      rules_.mark = static_cast<std::uint32_t>(number);
    } else if (kind == "dns") {
      rules_.dns_port = static_cast<std::uint16_t>(number);
    } else if (const auto alias = IpAddress::parse(text); kind == "name" && alias && words >> name) {
      rules_.names.emplace_back(name, *alias);
    } else {
      return fail(Code::invalid_input, "cannot read the list of answered names", names_file_, line);
    }
  }
  return {};
}

Result<> InstalledCapture::remember(const CaptureRules& wish) const {
  std::error_code failure;
  std::filesystem::create_directories(state_dir_, failure);
  std::string targets;
  for (const auto& target : wish.targets) targets += target.text() + '\n';
  auto names = fmt::format("mark {:#x}\ndns {}\n", wish.mark, wish.dns_port);
  for (const auto& [name, alias] : wish.names) names += fmt::format("name {} {}\n", alias.text(), name);
  if (auto written = write_list(names_file_, names); !written) return written;
  return write_list(list_file_, targets);
}

Result<> InstalledCapture::commit(const CaptureRules& wish) {
  // Without it rerouted datagrams would go nowhere; the guard drops them then.
  auto delivered = net::install_local_delivery(delivery());
  if (!delivered) return delivered;
  for (int attempt = 1;; ++attempt) {
    auto devices = net::links();
    if (!devices) return fail(std::move(devices.error()));
    std::vector<std::string> present;
    for (const auto& device : *devices) present.push_back(device.name);
    // Linux 6.16 and later hold a place for a device that is gone, so that its return finds the guard there: a raw frame would
    // slip through before we hear of it. Earlier ones refuse the name.
    auto names = present;
    for (const auto& device : gone_) {
      if (std::ranges::find(names, device) == names.end()) names.push_back(device);
    }
    // nftables refuses the name of a cgroup that is gone.
    auto now = wish;
    now.programs.look_again();
    auto done = net::run_nft(install_script(now, names));
    if (!done && names.size() > present.size()) done = net::run_nft(install_script(now, present));
    if (done) {
      devices_ = std::move(*devices);
      rules_ = wish;
      installed_ = true;
      changed_ = false;
      // If they are gone already, or cannot be asked for, the next look finds a difference.
      numbers_ = net::nft_table_numbers(table_name(rules_.listen_port)).value_or(std::vector<std::uint64_t>{});
      return {};
    }
    if (done.error().code != Code::not_found || attempt == commit_attempts) return fail(std::move(done.error()));
  }
}

net::LocalDelivery InstalledCapture::delivery() const {
  const auto mark = capture_mark(rules_.listen_port);
  return {mark, mark, delivery_priority};
}

Result<> InstalledCapture::install(Wish wish) {
  if (!recalled_) {
    if (auto before = recall(); !before) return before;
  }
  wish.listen_port = rules_.listen_port;
  wish.targets.insert(wish.targets.end(), rules_.targets.begin(), rules_.targets.end());
  for (auto* list : {&wish.targets, &wish.own, &wish.own_datagrams, &wish.excluded}) tidy(*list);
  wish.names.insert(wish.names.end(), rules_.names.begin(), rules_.names.end());
  std::ranges::sort(wish.names);
  const auto twice = std::ranges::unique(wish.names);
  wish.names.erase(twice.begin(), twice.end());
  wish.retired = retired_by(rules_, wish.diversions);
  if (wish.retired != rules_.retired) undiverted_ = false;
  if (!installed_ && adopted_) {
    all_unknown_ = true;
    undiverted_ = false;
  }
  if (installed_ && wish == rules_) return end_old_diversions();
  // The list first: with a crash in between it names too much, never too little.
  auto written = remember(wish);
  if (!written) return written;
  if (auto done = commit(wish); !done) return done;
  return end_old_diversions();
}

/// Asked for again until it is done: what is not ended would go on around the new rules.
Result<> InstalledCapture::end_old_diversions() {
  if (undiverted_) return {};
  auto ended = end_undiverted(rules_, all_unknown_);
  // Without connection tracking in the kernel nothing was ever sent anywhere.
  if (!ended && ended.error().code != Code::unsupported) return ended;
  undiverted_ = true;
  all_unknown_ = false;
  return {};
}

Result<> InstalledCapture::follow_devices() {
  if (!installed_) return {};
  // Loopback that was down and up again has lost its routes.
  auto delivered = net::install_local_delivery(delivery());
  if (!delivered) return delivered;
  auto devices = net::links();
  if (!devices) return fail(std::move(devices.error()));
  if (*devices == devices_) return {};
  for (const auto& device : devices_) {
    if (gone_.size() < gone_devices_most) gone_.insert(device.name);
  }
  return commit(rules_);
}

Result<bool> InstalledCapture::restore(bool changed) {
  if (!installed_) return false;
  changed_ = changed_ || changed;
  if (!changed_) {
    auto numbers = net::nft_table_numbers(table_name(rules_.listen_port));
    if (!numbers) return fail(std::move(numbers.error()));
    // 0: they were gone before they were counted.
    if (*numbers == numbers_ && numbers->front() != 0) return false;
    changed_ = true;
  }
  if (auto done = commit(Wish(rules_)); !done) return fail(std::move(done.error()));
  return true;
}

Result<> InstalledCapture::reinstate() {
  if (auto read = recall_targets(); !read) return read;
  if (auto read = recall_names(); !read) return read;
  installed_ = false;
  return install(Wish(rules_));
}

Result<> InstalledCapture::shut() {
  if (auto before = recall(); !before) return before;
  if (!adopted_) return {};
  all_unknown_ = true;
  undiverted_ = false;
  if (auto done = commit(Wish(rules_)); !done) return done;
  return end_old_diversions();
}

std::vector<std::uint16_t> InstalledCapture::remembered(const std::string& state_dir) {
  const auto stem = fmt::format("redirect-{}-", namespace_number());
  std::vector<std::uint16_t> ports;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(state_dir, ignored)) {
    const auto name = file.path().filename().string();
    if (!name.starts_with(stem)) continue;
    const auto port = std::strtoul(name.c_str() + stem.size(), nullptr, 10);
    if (port > 0 && port <= 65535) ports.push_back(static_cast<std::uint16_t>(port));
  }
  return ports;
}

Result<> InstalledCapture::remove() {
  if (installed_ && !rules_.diversions.empty()) {
    auto wish = rules_;
    wish.diversions.clear();
    if (auto ended = install(std::move(wish)); !ended) return ended;
  }
  auto removed = net::run_nft(remove_script(table_name(rules_.listen_port)));
  if (!removed) return fail(std::move(removed.error()));
  auto undelivered = net::remove_local_delivery(delivery());
  if (!undelivered) return undelivered;
  std::error_code ignored;
  for (const auto& file : {list_file_, names_file_, state_file(".handover")}) std::filesystem::remove(file, ignored);
  installed_ = false;
  rules_.targets.clear();
  rules_.names.clear();
  return {};
}

}  // namespace epif::redirect
