#include "functions/catalogue.h"

#include <array>
#include <string>

#include "functions/audit.h"
#include "functions/encrypt.h"
#include "functions/firewall.h"
#include "functions/passthrough.h"

namespace epif::functions {
namespace {

using OpenFunction = Result<std::unique_ptr<Transform>> (*)(const bridge::Open&);

constexpr std::array<Entry, 5> entries{{
    {"audit", "counts and hashes both directions", ""},
    {"decrypt", "opens what encrypt sealed", "cipher"},
    {"encrypt", "seals both directions up to the other half of its pair", "cipher"},
    {"firewall", "checks the destination and the first bytes", "allow, protocol"},
    {"passthrough", "passes everything", ""},
}};
constexpr std::array<OpenFunction, 5> opens{open_audit, open_decrypt, open_encrypt, open_firewall, open_passthrough};

}  // namespace

std::span<const Entry> catalogue() { return entries; }

Result<Factory> factory(std::string_view name) {
  std::string known;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].name == name) return Factory(opens[i]);
    known += (known.empty() ? "" : ", ") + std::string(entries[i].name);
  }
  return fail(Code::not_found, "no built-in bridging function has this name", std::string(name), "", "there are " + known);
}

}  // namespace epif::functions
