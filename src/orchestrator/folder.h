#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
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

/// For the one process that works on a store, until the result is closed or the process ends; nothing for a store in memory.
/// Errors: conflict (another one does).
[[nodiscard]] Result<Fd> claim_store(const std::string& store);

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
/// Makes CA, server certificate, the store, the admin's token file and client.json: all of it in `folder`/.init, from where it
/// takes its place, ca.key last (orchestrator/staging.h). So an error leaves nothing, a crash no folder that could be taken
/// for a whole one, and what it left is removed by the next init. A folder that is there already must be empty, of this user
/// or root, and keeps its mode. A store outside of the folder is left as it was found by an init that fails.
/// Errors: conflict (the folder holds an orchestrator, or something else; another init is at work; an orchestrator runs on
/// the store), permission (another user owns the folder, or others may write to it).
[[nodiscard]] Result<Initialised> init(const InitOptions& options);

/// A new server certificate for the hosts on file, if the present one ends within a third of its life.
[[nodiscard]] Result<bool> renew_server_certificate(const Folder& folder, std::chrono::system_clock::time_point now);

}  // namespace epif::orchestrator
