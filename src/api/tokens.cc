#include "api/tokens.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <boost/json.hpp>

#include "api/pki.h"
#include "base/bytes.h"
#include "base/limits.h"

namespace epif::api {
namespace {

constexpr std::string_view token_kind = "Token";
constexpr std::string_view join_prefix = "epif-join";
constexpr std::string_view user_prefix = "epif-user";

std::string hash(std::string_view secret) {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  const auto bytes = as_bytes(secret);
  SHA256(bytes.data(), bytes.size(), digest.data());
  return to_hex(digest);
}

Result<std::string> random_hex(std::size_t bytes) {
  Bytes random(bytes);
  if (RAND_bytes(random.data(), static_cast<int>(bytes)) != 1) return fail(Code::internal, "no random numbers");
  return to_hex(random);
}

bool is_hex(std::string_view text, std::size_t size) {
  return text.size() == size && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0;;) {
    const auto dot = text.find('.', at);
    parts.push_back(text.substr(at, dot - at));
    if (dot == text.npos) return parts;
    at = dot + 1;
  }
}

struct Fresh {
  std::string id;
  std::string secret;
};

/// Makes a token and stores its hash with what it is for.
Result<Fresh> store_token(store::Store& store, std::string_view use, std::string_view subject, std::chrono::seconds valid) {
  auto id = random_hex(8);
  auto secret = random_hex(32);
  if (!id || !secret) return fail(Code::internal, "no random numbers");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto expires = valid.count() == 0 ? 0 : std::chrono::floor<std::chrono::seconds>(now + valid).count();
  const boost::json::object spec{{"use", use}, {"subject", subject}, {"hash", hash(*secret)}, {"expires", expires}};
  auto stored = store.put(std::string(token_kind), *id, "{}", boost::json::serialize(spec), 0);
  if (!stored) return fail(std::move(stored.error()));
  return Fresh{std::move(*id), std::move(*secret)};
}

struct Known {
  std::string subject;
  std::optional<std::chrono::sys_seconds> until;
};

/// A stored token of this use whose secret fits.
Result<Known> check(store::Store& store, std::string_view use, std::string_view id, std::string_view secret,
                          std::chrono::system_clock::time_point now) {
  const auto wrong = Error{Code::unauthenticated, "the token is not known", {}, {}, "ask for a new one"};
  if (!is_hex(id, 16) || !is_hex(secret, 64)) return fail(wrong);
  auto record = store.get(token_kind, id);
  if (!record) return record.error().code == Code::not_found ? fail(wrong) : fail(std::move(record.error()));
  const auto spec = boost::json::parse(record->spec).as_object();
  const std::string_view stored = spec.at("hash").as_string();
  const auto given = hash(secret);
  if (stored.size() != given.size() || CRYPTO_memcmp(stored.data(), given.data(), given.size()) != 0 || spec.at("use").as_string() != use) {
    return fail(wrong);
  }
  const auto expires = spec.at("expires").to_number<std::int64_t>();
  Known known{std::string(spec.at("subject").as_string()), {}};
  if (expires != 0) known.until = std::chrono::sys_seconds(std::chrono::seconds(expires));
  if (known.until && now >= *known.until) return fail(Code::expired, "the token has expired", {}, {}, "ask for a new one");
  return known;
}

}  // namespace

std::string JoinToken::text() const { return fmt::format("{}.{}.{}.{}", join_prefix, id, secret, authority_fingerprint); }

Result<JoinToken> JoinToken::parse(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const auto parts = split(text);
  if (parts.size() != 4 || parts[0] != join_prefix || !is_hex(parts[1], 16) || !is_hex(parts[2], 64) || !is_hex(parts[3], 64)) {
    return fail(Code::invalid_input, "not a join token", {}, "it must read epif-join.<id>.<secret>.<fingerprint>",
                "copy it whole, as it was printed");
  }
  return JoinToken{std::string(parts[1]), std::string(parts[2]), std::string(parts[3])};
}

Result<JoinToken> issue_join_token(store::Store& store, std::string_view scope, std::string_view authority_fingerprint,
                                   std::chrono::seconds valid) {
  const bool is_domain = scope.find('/') == scope.npos && is_identity(fmt::format("{}/x", scope));
  if (scope != "*" && !is_domain && !is_identity(scope)) {
    return fail(Code::invalid_input, "not a scope of a join token", std::string(scope), {}, "give domain/node, a domain, or *");
  }
  if (valid.count() == 0) valid = std::chrono::seconds(limits::join_token_valid_s);
  auto fresh = store_token(store, "join", scope, valid);
  if (!fresh) return fail(std::move(fresh.error()));
  return JoinToken{std::move(fresh->id), std::move(fresh->secret), std::string(authority_fingerprint)};
}

Result<> check_join_token(store::Store& store, std::string_view id, std::string_view secret, std::string_view identity,
                          std::chrono::system_clock::time_point now) {
  const auto known = check(store, "join", id, secret, now);
  if (!known) return fail(known.error());
  const auto& scope = known->subject;
  if (!is_identity(identity)) return fail(Code::invalid_input, "not an identity", std::string(identity), "it must read domain/node");
  const bool covers = scope == "*" || scope == identity || identity.substr(0, identity.find('/')) == scope;
  if (!covers) {
    return fail(Code::denied, "the token is not for this node", std::string(identity), fmt::format("it is for {}", scope));
  }
  return {};
}

Result<std::string> issue_user_token(store::Store& store, std::string_view user, std::chrono::seconds valid) {
  auto fresh = store_token(store, "user", user, valid);
  if (!fresh) return fail(std::move(fresh.error()));
  return fmt::format("{}.{}.{}", user_prefix, fresh->id, fresh->secret);
}

Result<Caller> check_user_token(store::Store& store, std::string_view text, std::chrono::system_clock::time_point now) {
  const auto parts = split(text);
  if (parts.size() != 3 || parts[0] != user_prefix) {
    return fail(Code::unauthenticated, "not a user token", {}, "it must read epif-user.<id>.<secret>");
  }
  auto known = check(store, "user", parts[1], parts[2], now);
  if (!known) return fail(std::move(known.error()));
  return Caller{Caller::Kind::user, std::move(known->subject), known->until};
}

}  // namespace epif::api
