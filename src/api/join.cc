#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <cerrno>

#include "api/client.h"
#include "api/connection.h"
#include "api/openssl.h"
#include "api/tokens.h"
#include "base/limits.h"

namespace epif::api {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

/// The PEM certificates of `chain`, one by one.
std::vector<std::string> certificates(std::string_view chain) {
  constexpr std::string_view last_line = "-----END CERTIFICATE-----\n";
  std::vector<std::string> all;
  for (auto end = chain.find(last_line); end != chain.npos; end = chain.find(last_line)) {
    all.emplace_back(chain.substr(0, end + last_line.size()));
    chain.remove_prefix(end + last_line.size());
  }
  return all;
}

/// Connects without trust, only to look at the certificates; the one that the token names becomes the CA to trust.
Result<std::string> fetch_authority(const Endpoint& endpoint, const std::string& fingerprint) {
  asio::io_context loop(1);
  std::string chain;
  Result<> done = fail(Code::timeout, "no answer from the orchestrator", endpoint.text());
  const auto look = [](Endpoint where, std::string& shown, Result<>& result) -> asio::awaitable<void> {
    auto made = co_await connect(std::move(where), unverified_context(), false, std::chrono::milliseconds(limits::api_deadline_ms));
    if (made) shown = (*made)->chain();
    result = made ? Result<>{} : Result<>(fail(std::move(made.error())));
  };
  asio::co_spawn(loop, look(endpoint, chain, done), asio::detached);
  loop.run();
  if (!done) return fail(std::move(done.error()));
  for (auto& certificate : certificates(chain)) {
    if (fingerprint_of(certificate).value_or("") == fingerprint) return std::move(certificate);
  }
  return fail(Code::unauthenticated, "this is not the orchestrator that made the token", endpoint.text(),
              "its CA has another fingerprint than the token names", "check the address; if it is right, someone is in between");
}

Result<> write_membership(const std::string& folder, const TlsIdentity& tls) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return fail(system_error(errno, "cannot make the folder", folder));
  if (auto done = write_file(folder + "/ca.crt", tls.authority, 0644); !done) return done;
  if (auto done = write_file(folder + "/node.key", tls.key, 0600); !done) return done;
  return write_file(folder + "/node.crt", tls.certificate, 0644);
}

/// Sends the certificate request to `path` and checks what comes back.
Result<std::string> ask_certificate(Client& client, std::string_view path, const json::object& question,
                                    std::string_view identity, std::string_view key) {
  auto body = client.request("POST", path, json::serialize(question));
  if (!body) return fail(std::move(body.error()));
  json::error_code bad;
  const auto answer = json::parse(*body, bad);
  const auto* object = bad ? nullptr : answer.if_object();
  const auto* text = object && object->contains("certificate") ? object->at("certificate").if_string() : nullptr;
  const auto certificate = text ? parse_certificate(*text) : nullptr;
  if (!certificate || X509_check_private_key(certificate.get(), parse_key(key).get()) != 1 || identity_of(certificate.get()) != identity) {
    return fail(Code::protocol, "the orchestrator sent no certificate for this node", std::string(identity));
  }
  return std::string(*text);
}

}  // namespace

Result<Membership> join(const std::string& url, std::string_view token_text, std::string_view identity, const std::string& folder) {
  auto endpoint = Endpoint::parse(url);
  if (!endpoint) return fail(std::move(endpoint.error()));
  if (endpoint->is_unix()) return fail(Code::usage, "joining needs the orchestrator's https address", url);
  auto token = JoinToken::parse(token_text);
  if (!token) return fail(std::move(token.error()));
  if (!is_identity(identity)) return fail(Code::invalid_input, "not an identity", std::string(identity), "it must read domain/node");
  auto authority = fetch_authority(*endpoint, token->authority_fingerprint);
  if (!authority) return fail(std::move(authority.error()));
  // From here on the server is verified: the secret goes to nobody else.
  auto client = Client::make({.url = url, .tls = {.certificate = {}, .key = {}, .authority = *authority}});
  if (!client) return fail(std::move(client.error()));
  auto side = make_key_and_request();
  if (!side) return fail(std::move(side.error()));
  const json::object question{{"id", token->id}, {"secret", token->secret}, {"identity", identity}, {"request", side->request}};
  auto certificate = ask_certificate(**client, "/v1/join", question, identity, side->key);
  if (!certificate) return fail(std::move(certificate.error()));
  Membership member{std::string(identity), {std::move(*certificate), std::move(side->key), std::move(*authority)}};
  if (auto written = write_membership(folder, member.tls); !written) return fail(std::move(written.error()));
  return member;
}

Result<Membership> open_membership(const std::string& folder) {
  Membership member;
  const std::pair<const char*, std::string*> files[] = {
      {"/node.crt", &member.tls.certificate}, {"/node.key", &member.tls.key}, {"/ca.crt", &member.tls.authority}};
  for (const auto& [name, text] : files) {
    auto content = read_file(folder + name);
    if (!content) return fail(std::move(content.error()));
    *text = std::move(*content);
  }
  const auto certificate = parse_certificate(member.tls.certificate);
  const auto key = parse_key(member.tls.key);
  member.identity = identity_of(member.tls.certificate);
  if (!certificate || !key || X509_check_private_key(certificate.get(), key.get()) != 1 || member.identity.empty()) {
    return fail(openssl_error(Code::invalid_input, "key and certificate do not belong together, join again", folder));
  }
  return member;
}

Result<Membership> renew(const std::string& url, const Membership& member, const std::string& folder) {
  auto client = Client::make({.url = url, .tls = member.tls});
  if (!client) return fail(std::move(client.error()));
  auto request = make_request(member.tls.key);
  if (!request) return fail(std::move(request.error()));
  auto certificate = ask_certificate(**client, "/v1/renew", {{"request", *request}}, member.identity, member.tls.key);
  if (!certificate) return fail(std::move(certificate.error()));
  auto renewed = member;
  renewed.tls.certificate = std::move(*certificate);
  if (auto written = write_file(folder + "/node.crt", renewed.tls.certificate, 0644); !written) return fail(std::move(written.error()));
  return renewed;
}

}  // namespace epif::api
