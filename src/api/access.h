#pragma once
#include <string_view>

#include "api/kinds.h"
#include "api/server.h"
#include "base/error.h"

/// Who may do what to which resource: users and the local administrator everything that the kind allows, agents only what
/// concerns them. Checked here and nowhere else, before anything is read or written.
namespace epif::api {

[[nodiscard]] bool reaches(Reach reach, std::string_view agent, std::string_view name);

[[nodiscard]] bool may_read(const Caller& caller, const Kind& kind, std::string_view name);
/// `denied`, naming caller and resource.
[[nodiscard]] Result<> check_write(const Caller& caller, const Kind& kind, std::string_view name);
[[nodiscard]] Result<> check_status_write(const Caller& caller, const Kind& kind, std::string_view name);

}  // namespace epif::api
