#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "store/store.h"

/// An orchestrator's folder and how it comes to be.
namespace epif::orchestrator {

/// What lies in the folder; the CA's own files are those of api::CertificateAuthority.
struct Folder {
  explicit Folder(const std::string& path);
  std::string path;
  std::string server_key;          ///< 0600
  std::string server_certificate;
  std::string server_hosts;        ///< names and addresses in it, one a line, for renewal
  std::string admin_token;         ///< 0600
  std::string client;              ///< client.json for the command line
  std::string store;               ///< default of --store: "sqlite:<path>/epif.db"
};

/// "sqlite:PATH" or "memory". unsupported for etcd:..., since this build has no such driver; usage for anything else.
[[nodiscard]] Result<std::unique_ptr<store::Store>> open_store(const std::string& text);

struct InitOptions {
  std::string folder;
  std::string store;               ///< empty: Folder::store
  std::vector<std::string> hosts;  ///< further names and addresses by which agents and users reach the server
  SocketAddress listen;            ///< where it will listen; its address, if not any, is in the certificate, too
  std::string user = "admin";
};
struct Initialised {
  std::string url;         ///< https://host:port for clients on this machine
  std::string join_token;  ///< any node, for an hour; a secret
};
/// Makes CA, server certificate, the store, the admin's token file and client.json. All of it is made in `folder`.init and
/// takes its place in one step, so that an error or a crash leaves no folder with half of it; what a crashed one left is
/// removed by the next. A folder that is there already must be empty, and keeps its owner and mode.
/// Errors: conflict (the folder holds an orchestrator, or something else; another init is at work), permission (others may
/// write to the folder).
[[nodiscard]] Result<Initialised> init(const InitOptions& options);

/// A new server certificate for the hosts on file, if the present one ends within a third of its life.
[[nodiscard]] Result<bool> renew_server_certificate(const Folder& folder, std::chrono::system_clock::time_point now);

}  // namespace epif::orchestrator
