#pragma once
#include <boost/json/fwd.hpp>
#include <string_view>

#include "base/error.h"
#include "policy/value.h"

namespace epif::policy {

/// May `principal` do `action` to `resource`, given `context`?
struct Request {
  EntityUid principal;
  EntityUid action;
  EntityUid resource;
  Value context = Value::record({});  ///< always a record

  /// {"principal","action","resource","context"}; the three are {"type","id"} or text such as User::"alice"; further
  /// fields are left alone, so a case of the public Cedar tests can be passed as it is. Context may be absent.
  [[nodiscard]] static Result<Request> parse(std::string_view json, std::string_view name);
  [[nodiscard]] static Result<Request> from_json(const boost::json::object& object, std::string_view name);
};

}  // namespace epif::policy
