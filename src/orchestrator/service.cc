#include "orchestrator/service.h"

#include <condition_variable>

#include "api/resources.h"
#include "api/store_identity.h"
#include "api/tokens.h"
#include "base/log.h"
#include "orchestrator/kinds.h"
#include "orchestrator/loop.h"
#include "orchestrator/policies.h"

namespace epif::orchestrator {
namespace {

Result<api::TlsIdentity> read_tls(const Folder& folder, const api::CertificateAuthority& authority) {
  auto certificate = api::read_file(folder.server_certificate);
  if (!certificate) return fail(certificate.error());
  auto key = api::read_file(folder.server_key);
  if (!key) return fail(key.error());
  return api::TlsIdentity{std::move(*certificate), std::move(*key), authority.certificate()};
}

void renew_until(const Folder& folder, const api::CertificateAuthority& authority, api::Server& server,
                 const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  while (!stop.stop_requested()) {
    auto renewed = renew_server_certificate(folder, std::chrono::system_clock::now());
    if (!renewed) log::error("orchestrator", renewed.error());
    if (renewed && *renewed) {
      auto tls = read_tls(folder, authority);
      auto set = tls ? server.set_tls(*tls) : Result<>(fail(tls.error()));
      if (!set) log::error("orchestrator", set.error());
    }
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, std::chrono::hours(1), [] { return false; });
  }
}

}  // namespace

Service::Service(Folder folder, std::unique_ptr<store::Store> store, api::CertificateAuthority authority)
    : folder_(std::move(folder)), store_(std::move(store)), authority_(std::move(authority)), kinds_(all_kinds()) {}

Result<std::unique_ptr<Service>> Service::start(const ServiceOptions& options) {
  Folder folder(options.folder);
  auto authority = api::CertificateAuthority::open(folder.path);
  if (!authority) {
    auto error = authority.error();
    if (error.code == Code::not_found) error.advice = "run `epif orchestrator init --dir " + folder.path + "` first";
    return fail(std::move(error));
  }
  const auto& where = options.store.empty() ? folder.store : options.store;
  auto lock = claim_store(where);
  if (!lock) return fail(lock.error());
  auto store = open_store(where);
  if (!store) return fail(store.error());
  std::unique_ptr<Service> service(new Service(std::move(folder), std::move(*store), std::move(*authority)));
  service->lock_ = std::move(*lock);
  if (auto served = service->serve(options); !served) return fail(served.error());
  return service;
}

Result<> Service::serve(const ServiceOptions& options) {
  auto identity = api::store_identity(*store_);
  if (!identity) return fail(identity.error());
  api::Router router;
  api::add_endpoints(router, {.store = store_.get(), .kinds = &kinds_, .store_identity = *identity, .authority = &authority_});
  auto tls = read_tls(folder_, authority_);
  if (!tls) return fail(tls.error());
  api::ServerOptions server;
  server.listen = options.listen;
  server.tls = std::move(*tls);
  server.check_token = [this](std::string_view token) {
    return api::check_user_token(*store_, token, std::chrono::system_clock::now());
  };
  auto started = api::Server::start(std::move(server), std::move(router));
  if (!started) return fail(started.error());
  server_ = std::move(*started);
  loop_ = std::jthread([this, range = options.alias_range](const std::stop_token& stop) {
    reconcile_until(*store_, cedar_policies(), stop, range);
  });
  renewal_ = std::jthread([this](const std::stop_token& stop) { renew_until(folder_, authority_, *server_, stop); });
  return {};
}

Service::~Service() {
  loop_.request_stop();
  renewal_.request_stop();
}

Result<std::string> Service::join_token(const std::string& scope) {
  auto token = api::issue_join_token(*store_, scope, authority_.fingerprint());
  if (!token) return fail(token.error());
  return token->text();
}

}  // namespace epif::orchestrator
