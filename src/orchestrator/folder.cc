#include "orchestrator/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "api/client_config.h"
#include "api/pki.h"
#include "api/tokens.h"
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

Result<Initialised> fill(const InitOptions& options, const Folder& folder) {
  auto authority = api::CertificateAuthority::create(folder.path);
  if (!authority) return fail(authority.error());
  if (auto written = write_server_certificate(folder, *authority, all_hosts(options)); !written) return fail(written.error());
  auto store = open_store(options.store.empty() ? folder.store : options.store);
  if (!store) return fail(store.error());
  auto token = api::issue_user_token(**store, options.user);
  if (!token) return fail(token.error());
  if (auto written = api::write_file(folder.admin_token, *token + "\n", 0600); !written) return fail(written.error());
  Initialised out;
  out.url = url_of(options);
  const api::ClientConfig client{out.url, folder.admin_token, folder.path + "/ca.crt"};
  if (auto written = api::write_client_config(folder.client, client); !written) return fail(written.error());
  auto join = api::issue_join_token(**store, "*", authority->fingerprint());
  if (!join) return fail(join.error());
  out.join_token = join->text();
  return out;
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

Result<Initialised> init(const InitOptions& options) {
  const Folder folder(options.folder);
  std::error_code error;
  if (fs::exists(folder.path + "/ca.key", error)) {
    return fail(Code::conflict, "this folder holds an orchestrator already", folder.path, "it has a ca.key",
                "run it with `epif orchestrator run --dir " + folder.path + "`, or choose another --dir");
  }
  const bool made = !fs::exists(folder.path, error);
  fs::create_directories(folder.path, error);
  if (error) return fail(Code::io, "cannot make the folder", folder.path, error.message());
  if (::chmod(folder.path.c_str(), 0700) != 0) return fail(system_error(errno, "cannot protect the folder", folder.path));
  auto done = fill(options, folder);
  if (!done) {
    for (const auto& file : {folder.path + "/ca.key", folder.path + "/ca.crt", folder.server_key, folder.server_certificate,
                             folder.server_hosts, folder.admin_token, folder.client}) {
      fs::remove(file, error);
    }
    if (made) fs::remove_all(folder.path, error);
  }
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
