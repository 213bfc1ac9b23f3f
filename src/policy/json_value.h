#pragma once
#include <boost/json/fwd.hpp>
#include <string_view>

#include "base/error.h"
#include "policy/value.h"

namespace epif::policy {

/// Parses JSON of at most document_max_bytes and document_depth. Errors name `name`:line:column.
[[nodiscard]] Result<boost::json::value> parse_json(std::string_view text, std::string_view name);

/// A value in Cedar's JSON form. An object of exactly two texts "type" and "id" is an entity, as Cedar reads it where a
/// schema says so; a record of these two fields cannot be written. `where` (for example "request.json: context") stands in
/// messages. Numbers must be whole and fit in 64 bits; null does not exist in Cedar.
[[nodiscard]] Result<Value> value_from_json(const boost::json::value& json, std::string_view where);

/// The fields of a JSON object as a record; an absent object is given as nullptr and means no fields.
[[nodiscard]] Result<Record> record_from_json(const boost::json::value* json, std::string_view where);

/// {"type","id"}, {"__entity": {"type","id"}}, or text such as User::"alice".
[[nodiscard]] Result<EntityUid> uid_from_json(const boost::json::value& json, std::string_view where);

}  // namespace epif::policy
