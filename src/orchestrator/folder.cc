#include "orchestrator/folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <sstream>

#include "api/client_config.h"
#include "api/pki.h"
#include "api/tokens.h"
#include "base/fd.h"
#include "base/limits.h"

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

/// A store inside of the folder is made where the folder is made.
std::string store_in(const InitOptions& options, const Folder& place, const Folder& final_place) {
  if (options.store.empty()) return place.store;
  const auto inside = "sqlite:" + final_place.path + "/";
  if (!options.store.starts_with(inside)) return options.store;
  return "sqlite:" + place.path + "/" + options.store.substr(inside.size());
}

/// Makes everything in `place`; what names a path names the one it will have.
Result<Initialised> fill(const InitOptions& options, const Folder& place, const Folder& final_place) {
  auto authority = api::CertificateAuthority::create(place.path);
  if (!authority) return fail(authority.error());
  if (auto written = write_server_certificate(place, *authority, all_hosts(options)); !written) return fail(written.error());
  auto store = open_store(store_in(options, place, final_place));
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

/// Whether the folder may become an orchestrator's; its facts if it is there already.
Result<std::optional<struct stat>> look_at(const Folder& folder) {
  struct stat facts {};
  if (::lstat(folder.path.c_str(), &facts) != 0) {
    if (errno == ENOENT) return std::optional<struct stat>();
    return fail(system_error(errno, "cannot look at the folder", folder.path));
  }
  std::error_code error;
  if (fs::exists(folder.path + "/ca.key", error)) {
    return fail(Code::conflict, "this folder holds an orchestrator already", folder.path, "it has a ca.key",
                "run it with `epif orchestrator run --dir " + folder.path + "`, or choose another --dir");
  }
  if (!S_ISDIR(facts.st_mode) || !fs::is_empty(folder.path, error) || error) {
    return fail(Code::conflict, "this is not an empty folder", folder.path, {}, "choose another --dir");
  }
  if ((facts.st_mode & 022) != 0) {
    return fail(Code::permission, "others may write to this folder", folder.path, fmt::format("its mode is {:03o}", facts.st_mode & 0777),
                "chmod 700 it, or choose another --dir");
  }
  return std::optional(facts);
}

/// The folder in which it is made, held by this process alone.
Result<Fd> make_place(const std::string& path) {
  for (;;) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail(system_error(errno, "cannot make the folder", path));
    Fd held(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!held) return fail(system_error(errno, "cannot open the folder", path));
    if (::flock(held.get(), LOCK_EX | LOCK_NB) != 0) return fail(Code::conflict, "another init is at work", path, {}, "wait for it");
    std::error_code error;
    if (fs::is_empty(path, error) && !error) return held;
    fs::remove_all(path, error);  // a crash left it
    if (error) return fail(Code::io, "cannot remove what an earlier init left", path, error.message());
  }
}

Result<> put_in_place(const Folder& place, const Folder& final_place, const std::optional<struct stat>& replaced, int place_fd) {
  if (replaced && ((::fchown(place_fd, replaced->st_uid, replaced->st_gid) != 0) || ::fchmod(place_fd, replaced->st_mode & 07777) != 0)) {
    return fail(system_error(errno, "cannot give the folder its owner and mode", final_place.path));
  }
  ::fsync(place_fd);
  // Over an empty folder or none; anything that appeared there meanwhile stays, and this fails.
  if (::rename(place.path.c_str(), final_place.path.c_str()) != 0) return fail(system_error(errno, "cannot make the folder", final_place.path));
  const Fd parent(::open(fs::path(final_place.path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent) ::fsync(parent.get());  // the rename itself survives a power loss
  return {};
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
  constexpr std::string_view sqlite = "sqlite:";
  if (text == "memory") return store::make_memory_store();
  if (text.starts_with(sqlite) && text.size() > sqlite.size()) return store::open_sqlite(text.substr(sqlite.size()));
  if (text.starts_with("etcd:")) {
    return fail(Code::unsupported, "no etcd driver in this program", "--store " + text, {}, "use --store sqlite:PATH");
  }
  return fail(Code::usage, "expected sqlite:PATH", "--store " + text);
}

Result<Initialised> init(const InitOptions& wished) {
  auto options = wished;
  while (options.folder.size() > 1 && options.folder.ends_with('/')) options.folder.pop_back();  // `.init` goes beside it
  const Folder folder(options.folder);
  const Folder place(options.folder + ".init");
  const auto replaced = look_at(folder);
  if (!replaced) return fail(replaced.error());
  std::error_code error;
  fs::create_directories(fs::path(folder.path).parent_path(), error);
  if (error) return fail(Code::io, "cannot make the folder", folder.path, error.message());
  auto held = make_place(place.path);
  if (!held) return fail(held.error());
  auto done = fill(options, place, folder);
  if (done) {
    if (auto there = put_in_place(place, folder, *replaced, held->get()); !there) done = fail(there.error());
  }
  if (!done) fs::remove_all(place.path, error);
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
