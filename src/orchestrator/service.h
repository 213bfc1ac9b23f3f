#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "api/kinds.h"
#include "api/pki.h"
#include "api/server.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"
#include "orchestrator/folder.h"
#include "store/store.h"

namespace epif::orchestrator {

struct ServiceOptions {
  std::string folder;    ///< made by init()
  std::string store;     ///< empty: Folder::store
  SocketAddress listen;  ///< port 0 picks one
  std::optional<Cidr> alias_range{};  ///< from which named nodes get the addresses by which other domains' programs reach them
};

/// A running orchestrator: API server and reconcile loop over one store. Ends with its destruction; state stays in the store.
class Service {
 public:
  /// Errors: not_found (no init yet), address_in_use, conflict (another orchestrator works on the store), those of the store.
  [[nodiscard]] static Result<std::unique_ptr<Service>> start(const ServiceOptions& options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  [[nodiscard]] SocketAddress address() const { return server_->address(); }
  /// A token by which one node may join: `scope` is "domain/node", "domain" or "*". A secret.
  [[nodiscard]] Result<std::string> join_token(const std::string& scope);

 private:
  Service(Folder folder, std::unique_ptr<store::Store> store, api::CertificateAuthority authority);
  [[nodiscard]] Result<> serve(const ServiceOptions& options);

  Fd lock_;  ///< one orchestrator a store: two would undo each other's work

  Folder folder_;
  std::unique_ptr<store::Store> store_;
  api::CertificateAuthority authority_;
  api::Kinds kinds_;
  std::unique_ptr<api::Server> server_;
  std::jthread loop_;
  std::jthread renewal_;
};

}  // namespace epif::orchestrator
