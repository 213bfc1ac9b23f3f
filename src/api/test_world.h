#pragma once
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "api/client.h"
#include "api/resources.h"
#include "api/server.h"
#include "api/tokens.h"
#include "base/limits.h"

namespace epif::api {

/// A real server on loopback over a store in memory, its CA, and clients of every sort:
///
///   user "alice" (token) ─┐
///   agents a/x, b/y (cert)─┼─ TLS 1.3 ─> server ─> store
///   stranger ─────────────┘
class World : public testing::Test {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "epif-api-XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    std::filesystem::create_directory(folder + "/ca");
    authority.emplace(CertificateAuthority::create(folder + "/ca").value());
    kinds.add({.name = "Assignment", .plural = "assignments", .in_domain = true, .users_write = false,
               .agent_reads = Reach::own_node, .agent_writes_status = Reach::own_node});
    token = issue_user_token(*store, "alice").value();
    start();
  }
  void TearDown() override {
    server.reset();
    std::filesystem::remove_all(folder);
  }

  void start(SocketAddress where = SocketAddress::parse("127.0.0.1:0").value()) {
    Router router;
    add_endpoints(router, {.store = store.get(), .kinds = &kinds, .authority = &*authority});
    ServerOptions options;
    options.listen = where;
    options.tls = identity({.identity = {}, .hosts = {"127.0.0.1", "localhost"}});
    options.unix_path = folder + "/api.sock";
    options.deadline_ms = deadline_ms;
    options.heartbeat_ms = 200;
    options.check_token = [this](std::string_view text) { return check_user_token(*store, text, std::chrono::system_clock::now() + later); };
    auto started = Server::start(std::move(options), std::move(router));
    ASSERT_TRUE(started) << started.error().text();
    server = std::move(*started);
    url = "https://" + server->address().text();
  }

  TlsIdentity identity(const CertificateProfile& profile) {
    auto side = make_key_and_request().value();
    return {authority->issue(side.request, profile).value(), side.key, authority->certificate()};
  }
  ClientOptions as_user() const { return {.url = url, .tls = {{}, {}, authority->certificate()}, .token = token}; }
  ClientOptions as_agent(const std::string& name) { return {.url = url, .tls = identity({.identity = name})}; }
  ClientOptions as_stranger() const { return {.url = url, .tls = {{}, {}, authority->certificate()}}; }
  static std::unique_ptr<Client> client(ClientOptions options) { return Client::make(std::move(options)).value(); }

  std::string folder;
  std::unique_ptr<store::Store> store = store::make_memory_store();
  Kinds kinds = Kinds::of_users();
  std::optional<CertificateAuthority> authority;
  std::string token;
  std::uint32_t deadline_ms = 2'000;
  std::chrono::seconds later{0};
  std::unique_ptr<Server> server;
  std::string url;
};

inline constexpr const char* domain_and_nodes = R"(
kind: Domain
metadata: {name: a}
spec: {}
---
kind: Node
metadata: {name: x, domain: a}
spec: {addresses: [10.1.0.10], attributes: [encryption]}
---
kind: Domain
metadata: {name: b}
spec: {}
---
kind: Node
metadata: {name: y, domain: b}
spec: {addresses: [10.2.0.10], attributes: [encryption]}
)";

}  // namespace epif::api
