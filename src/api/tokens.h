#pragma once
#include <chrono>
#include <string>
#include <string_view>

#include "api/server.h"
#include "base/error.h"
#include "store/store.h"

/// Tokens: 256 random bits, shown once, stored as SHA-256 (a random secret needs no slow hash), compared in constant time.
/// They live in the store as kind "Token", which the API never serves.
namespace epif::api {

/// Text "epif-join.<id>.<secret>.<CA fingerprint>": the fingerprint lets the joining side know the orchestrator before it
/// sends the secret. Valid once per node: a bound token for its one node until it expires (a node may rejoin with it);
/// a domain token for any node of the domain.
struct JoinToken {
  std::string id;
  std::string secret;
  std::string authority_fingerprint;

  [[nodiscard]] std::string text() const;
  [[nodiscard]] static Result<JoinToken> parse(std::string_view text);
};

/// `scope` is "domain/node" or "domain" or "*" (any node). `valid` zero: limits::join_token_valid_s.
[[nodiscard]] Result<JoinToken> issue_join_token(store::Store& store, std::string_view scope,
                                                 std::string_view authority_fingerprint, std::chrono::seconds valid = {});
/// Success if the token exists, is not expired and covers `identity`; else unauthenticated, expired or denied.
[[nodiscard]] Result<> check_join_token(store::Store& store, std::string_view id, std::string_view secret,
                                        std::string_view identity, std::chrono::system_clock::time_point now);

/// Text "epif-user.<id>.<secret>". `valid` zero: does not expire.
[[nodiscard]] Result<std::string> issue_user_token(store::Store& store, std::string_view user, std::chrono::seconds valid = {});
/// The user, until the token's end; or unauthenticated / expired.
[[nodiscard]] Result<Caller> check_user_token(store::Store& store, std::string_view text,
                                              std::chrono::system_clock::time_point now);

}  // namespace epif::api
