#include "api/store_identity.h"

#include <openssl/rand.h>

#include <array>
#include <boost/json.hpp>

#include "base/bytes.h"

namespace epif::api {

Result<std::string> store_identity(store::Store& store) {
  constexpr const char* kind = "StoreIdentity";
  constexpr const char* name = "store";
  auto record = store.get(kind, name);
  if (!record && record.error().code != Code::not_found) return fail(std::move(record.error()));
  if (!record) {
    std::array<std::uint8_t, 8> random{};
    if (RAND_bytes(random.data(), random.size()) != 1) return fail(Code::internal, "no random numbers");
    auto id = to_hex(random);
    auto made = store.put(kind, name, "{}", boost::json::serialize(boost::json::object{{"id", id}}), 0);
    if (!made) return fail(std::move(made.error()));
    return id;
  }
  boost::system::error_code bad;
  const auto spec = boost::json::parse(record->spec, bad);
  const auto* id = !bad && spec.is_object() ? spec.get_object().if_contains("id") : nullptr;
  if (id == nullptr || !id->is_string()) return fail(Code::invalid_input, "the store's identity cannot be read", kind);
  return std::string(id->get_string());
}

}  // namespace epif::api
