#pragma once
#include <string>

#include "api/client.h"
#include "base/error.h"

/// How the command line finds its orchestrator. `epif orchestrator init` writes the file; each field may be overridden.
namespace epif::api {

/// client.json: {"server": "https://127.0.0.1:7443", "tokenFile": "/path", "ca": "/path"}. Paths, not secrets.
struct ClientConfig {
  std::string server;
  std::string token_file;
  std::string ca;
};

/// $XDG_CONFIG_HOME/epif/client.json, or ~/.config/epif/client.json.
[[nodiscard]] std::string client_config_path();
[[nodiscard]] Result<ClientConfig> read_client_config(const std::string& path);
[[nodiscard]] Result<> write_client_config(const std::string& path, const ClientConfig& config);

/// Fills the fields of `given` (flags) that are empty from EPIF_SERVER, EPIF_TOKEN_FILE, EPIF_CA, then from the file, and
/// reads token and CA. usage, with what to do, if no server is known.
[[nodiscard]] Result<ClientOptions> resolve_client(ClientConfig given);

}  // namespace epif::api
