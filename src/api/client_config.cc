#include "api/client_config.h"

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>

namespace epif::api {
namespace {

namespace json = boost::json;

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void fill(std::string& field, std::string value) {
  if (field.empty()) field = std::move(value);
}

std::string without_newline(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

std::string client_config_path() {
  const auto base = from_environment("XDG_CONFIG_HOME");
  if (!base.empty()) return base + "/epif/client.json";
  const auto home = from_environment("HOME");
  return (home.empty() ? "/root" : home) + "/.config/epif/client.json";
}

Result<ClientConfig> read_client_config(const std::string& path) {
  auto text = read_file(path);
  if (!text) return fail(std::move(text.error()));
  json::error_code bad;
  const auto value = json::parse(*text, bad);
  const auto* object = bad ? nullptr : value.if_object();
  if (!object) return fail(Code::invalid_input, "not a client configuration", path, bad ? bad.message() : "it must be a JSON object");
  ClientConfig config;
  for (const auto& [key, field] : *object) {
    std::string* target = key == "server" ? &config.server : key == "tokenFile" ? &config.token_file : key == "ca" ? &config.ca : nullptr;
    if (!target || !field.is_string()) {
      return fail(Code::invalid_input, "wrong field in the client configuration", path, std::string(key), "it knows server, tokenFile and ca, each a text");
    }
    *target = field.as_string();
  }
  return config;
}

Result<> write_client_config(const std::string& path, const ClientConfig& config) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return fail(system_error(error.value(), "cannot make the folder of", path));
  const json::object object{{"server", config.server}, {"tokenFile", config.token_file}, {"ca", config.ca}};
  return write_file(path, json::serialize(object) + "\n", 0600);
}

Result<ClientOptions> resolve_client(ClientConfig given) {
  fill(given.server, from_environment("EPIF_SERVER"));
  fill(given.token_file, from_environment("EPIF_TOKEN_FILE"));
  fill(given.ca, from_environment("EPIF_CA"));
  auto file = read_client_config(client_config_path());
  if (!file && file.error().code != Code::not_found) return fail(std::move(file.error()));
  if (file) {
    fill(given.server, file->server);
    fill(given.token_file, file->token_file);
    fill(given.ca, file->ca);
  }
  if (given.server.empty()) {
    return fail(Code::usage, "no orchestrator is known", {}, {}, "give --server https://host:7443, set EPIF_SERVER, or run `epif orchestrator init` here");
  }
  ClientOptions options{.url = given.server, .tls = {}, .token = {}};
  if (!given.token_file.empty()) {
    auto token = read_file(given.token_file);
    if (!token) return fail(std::move(token.error()));
    options.token = without_newline(std::move(*token));
  }
  if (given.server.starts_with("unix:")) return options;
  if (given.ca.empty()) {
    return fail(Code::usage, "the orchestrator's CA is not known", given.server, {}, "give --ca FILE or set EPIF_CA (it is ca.crt in the orchestrator's folder)");
  }
  auto authority = read_file(given.ca);
  if (!authority) return fail(std::move(authority.error()));
  options.tls.authority = std::move(*authority);
  return options;
}

}  // namespace epif::api
