#include "store/store.h"

namespace epif::store {

Result<Revision> Store::put(std::string kind, std::string name, std::string metadata, std::string spec,
                            std::optional<Revision> expected) {
  const Write write{Write::Type::put, std::move(kind), std::move(name), std::move(metadata), std::move(spec), expected};
  return commit({&write, 1});
}

Result<Revision> Store::put_status(std::string kind, std::string name, std::string status, std::optional<Revision> expected) {
  const Write write{Write::Type::put_status, std::move(kind), std::move(name), {}, std::move(status), expected};
  return commit({&write, 1});
}

Result<Revision> Store::remove(std::string kind, std::string name, std::optional<Revision> expected) {
  const Write write{Write::Type::remove, std::move(kind), std::move(name), {}, {}, expected};
  return commit({&write, 1});
}

}  // namespace epif::store
