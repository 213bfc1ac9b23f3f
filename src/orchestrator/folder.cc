#include "orchestrator/folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <sstream>

#include "api/client_config.h"
#include "api/pki.h"
#include "api/tokens.h"
#include "base/fd.h"
#include "base/limits.h"
#include "orchestrator/staging.h"

namespace epif::orchestrator {
namespace {

namespace fs = std::filesystem;

Result<> write_server_certificate(const Folder& folder, const api::CertificateAuthority& authority,
                                  const std::vector<std::string>& hosts) {
  auto made = api::make_key_and_request();
  if (!made) return fail(made.error());
  auto certificate = authority.issue(made->request, {.identity = {}, .hosts = hosts, .valid = {}});
  if (!certificate) return fail(certificate.error());
  std::string lines;
  for (const auto& host : hosts) lines += host + "\n";
  for (const auto& [path, text, mode] : {std::tuple{folder.server_key, made->key, 0600u},
                                         {folder.server_certificate, *certificate, 0644u},
                                         {folder.server_hosts, lines, 0644u}}) {
    if (auto written = api::write_file(path, text, mode); !written) return written;
  }
  return {};
}

std::vector<std::string> all_hosts(const InitOptions& options) {
  std::vector<std::string> hosts{"localhost", "127.0.0.1", "::1"};
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0') hosts.emplace_back(name);
  if (!options.listen.ip.is_any()) hosts.push_back(options.listen.ip.text());
  hosts.insert(hosts.end(), options.hosts.begin(), options.hosts.end());
  std::ranges::sort(hosts);
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  return hosts;
}

std::string url_of(const InitOptions& options) {
  SocketAddress at = options.listen;
  if (at.ip.is_any()) at.ip = *IpAddress::parse(at.ip.is_v6() ? "::1" : "127.0.0.1");
  return "https://" + at.text();
}

constexpr std::string_view sqlite = "sqlite:";

/// The file of a store that lies directly in the folder, whichever way its path says so; empty: it lies elsewhere.
std::string file_inside(const InitOptions& options) {
  if (options.store.empty()) return "epif.db";
  if (!options.store.starts_with(sqlite)) return {};
  std::error_code error;
  const auto path = fs::absolute(options.store.substr(sqlite.size()), error).lexically_normal();
  return path.parent_path() == fs::path(options.folder) ? path.filename().string() : std::string();
}

/// What init does to a store outside of the folder: none that runs is touched, and none is left by an init that failed.
class OutsideStore {
 public:
  [[nodiscard]] static Result<OutsideStore> open(const std::string& store) {
    OutsideStore outside;
    if (!store.starts_with(sqlite)) return outside;
    outside.path_ = store.substr(sqlite.size());
    std::error_code error;
    outside.was_there_ = fs::exists(fs::symlink_status(outside.path_, error));
    outside.lock_was_there_ = fs::exists(outside.path_ + ".lock", error);
    auto lock = claim_store(store);
    if (!lock) return fail(std::move(lock.error()));
    outside.lock_ = std::move(*lock);
    return outside;
  }
  void undo() const {
    if (!lock_) return;
    for (const auto* end : {"-wal", "-shm", "-journal", ""}) {
      if (!was_there_) ::unlink((path_ + end).c_str());
    }
    if (!lock_was_there_) ::unlink((path_ + ".lock").c_str());
  }

 private:
  std::string path_;
  Fd lock_;
  bool was_there_ = true;
  bool lock_was_there_ = true;
};

/// Makes everything in `place`; what names a path names the one it will have.
Result<Initialised> fill(const InitOptions& options, const Folder& place, const Folder& final_place) {
  const auto inside = file_inside(options);
  auto authority = api::CertificateAuthority::create(place.path);
  if (!authority) return fail(authority.error());
  if (auto written = write_server_certificate(place, *authority, all_hosts(options)); !written) return fail(written.error());
  auto store = open_store(inside.empty() ? options.store : "sqlite:" + place.path + "/" + inside);
  if (!store) return fail(store.error());
  auto token = api::issue_user_token(**store, options.user);
  if (!token) return fail(token.error());
  if (auto written = api::write_file(place.admin_token, *token + "\n", 0600); !written) return fail(written.error());
  Initialised out;
  out.url = url_of(options);
  const api::ClientConfig client{out.url, final_place.admin_token, final_place.path + "/ca.crt"};
  if (auto written = api::write_client_config(place.client, client); !written) return fail(written.error());
  auto join = api::issue_join_token(**store, "*", authority->fingerprint());
  if (!join) return fail(join.error());
  out.join_token = join->text();
  return out;
}

/// All files that fill() may make; the authority's key, without which nothing runs, is the last to be put in place.
std::vector<std::string> file_names(const InitOptions& options) {
  const Folder bare("");
  std::vector<std::string> names{"ca.crt"};
  for (const auto* path : {&bare.server_key, &bare.server_certificate, &bare.server_hosts, &bare.admin_token, &bare.client}) {
    names.push_back(path->substr(1));
  }
  names.emplace_back("epif.db");
  if (auto inside = file_inside(options); !inside.empty() && inside != "epif.db") names.push_back(std::move(inside));
  names.emplace_back("ca.key");
  return names;
}

}  // namespace

Folder::Folder(const std::string& where)
    : path(where),
      server_key(where + "/server.key"),
      server_certificate(where + "/server.crt"),
      server_hosts(where + "/server.hosts"),
      admin_token(where + "/admin.token"),
      client(where + "/client.json"),
      store("sqlite:" + where + "/epif.db") {}

Result<std::unique_ptr<store::Store>> open_store(const std::string& text) {
  if (text == "memory") return store::make_memory_store();
  if (text.starts_with(sqlite) && text.size() > sqlite.size()) return store::open_sqlite(text.substr(sqlite.size()));
  if (text.starts_with("etcd:")) {
    return fail(Code::unsupported, "no etcd driver in this program", "--store " + text, {}, "use --store sqlite:PATH");
  }
  return fail(Code::usage, "expected sqlite:PATH", "--store " + text);
}

Result<Fd> claim_store(const std::string& store) {
  if (!store.starts_with(sqlite)) return Fd();
  const auto path = store.substr(sqlite.size()) + ".lock";
  for (;;) {
    Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock) return fail(system_error(errno, "cannot open the store's lock", path));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      return fail(Code::conflict, "another orchestrator works on this store", path, {}, "stop it first");
    }
    struct stat held {};
    struct stat named {};
    if (::fstat(lock.get(), &held) != 0) return fail(system_error(errno, "cannot look at the store's lock", path));
    // An init that failed takes its lock file away: what counts is the file that others find.
    if (::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev) return lock;
  }
}

Result<Initialised> init(const InitOptions& wished) {
  auto options = wished;
  std::error_code error;
  options.folder = fs::absolute(options.folder, error).lexically_normal().string();
  while (options.folder.size() > 1 && options.folder.ends_with('/')) options.folder.pop_back();
  const Folder folder(options.folder);
  fs::create_directories(fs::path(folder.path).parent_path(), error);
  if (error) return fail(Code::io, "cannot make the folder", folder.path, error.message());
  auto staging = Staging::open(folder.path, file_names(options));
  if (!staging) return fail(std::move(staging.error()));
  auto outside = OutsideStore::open(file_inside(options).empty() ? options.store : std::string());
  if (!outside) return fail(std::move(outside.error()));
  auto done = fill(options, Folder(staging->place()), folder);
  if (done) {
    if (auto finished = staging->finish(); !finished) done = fail(std::move(finished.error()));
  }
  if (!done) outside->undo();
  return done;
}

Result<bool> renew_server_certificate(const Folder& folder, std::chrono::system_clock::time_point now) {
  auto certificate = api::read_file(folder.server_certificate);
  if (!certificate) return fail(certificate.error());
  auto end = api::expiry_of(*certificate);
  if (!end) return fail(end.error());
  if (*end > now + std::chrono::days(limits::certificate_valid_days / 3)) return false;
  auto authority = api::CertificateAuthority::open(folder.path);
  if (!authority) return fail(authority.error());
  auto lines = api::read_file(folder.server_hosts);
  if (!lines) return fail(lines.error());
  std::vector<std::string> hosts;
  std::istringstream stream(*lines);
  for (std::string host; std::getline(stream, host);) hosts.push_back(host);
  if (auto written = write_server_certificate(folder, *authority, hosts); !written) return fail(written.error());
  return true;
}

}  // namespace epif::orchestrator
