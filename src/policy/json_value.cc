#include "policy/json_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/limits.h"
#include "policy/expression_parser.h"
#include "policy/extension.h"

namespace epif::policy {
namespace json = boost::json;

namespace {

std::string member_of(std::string_view where, std::string_view key) {
  return fmt::format("{}.{}", where, key);
}

/// {"fn": name, "arg": value} or {"fn": name, "args": [values]}: a call of an extension constructor or method.
Result<Value> extension_from_json(const json::value& escape, std::string_view where) {
  const auto* object = escape.if_object();
  const auto* function = object == nullptr ? nullptr : object->if_contains("fn");
  if (function == nullptr || !function->is_string()) {
    return fail(Code::invalid_input, "__extn needs a field fn with a function's name", std::string(where));
  }
  std::vector<Value> arguments;
  const auto add = [&](const json::value& argument) -> Result<> {
    auto value = value_from_json(argument, where);
    if (!value) return fail(std::move(value.error()));
    arguments.push_back(std::move(*value));
    return {};
  };
  if (const auto* one = object->if_contains("arg")) {
    if (auto added = add(*one); !added) return fail(std::move(added.error()));
  } else if (const auto* many = object->if_contains("args"); many != nullptr && many->is_array()) {
    for (const auto& argument : many->get_array()) {
      if (auto added = add(argument); !added) return fail(std::move(added.error()));
    }
  }
  auto value = call_extension(std::string_view(function->get_string()), arguments);
  if (!value) {
    value.error().code = Code::invalid_input;
    value.error().where = where;
    return fail(std::move(value.error()));
  }
  return value;
}

Result<Value> object_from_json(const json::object& object, std::string_view where) {
  if (const auto* escape = object.if_contains("__entity"); escape != nullptr && object.size() == 1) {
    auto uid = uid_from_json(*escape, where);
    if (!uid) return fail(std::move(uid.error()));
    return Value(std::move(*uid));
  }
  if (const auto* escape = object.if_contains("__extn"); escape != nullptr && object.size() == 1) {
    return extension_from_json(*escape, where);
  }
  // Cedar tells a bare {"type","id"} from a record by its schema. There is none here, so these two texts alone mean an
  // entity.
  if (object.size() == 2) {
    const auto* type = object.if_contains("type");
    const auto* id = object.if_contains("id");
    if (type != nullptr && id != nullptr && type->is_string() && id->is_string()) {
      return Value(EntityUid{std::string(type->get_string()), std::string(id->get_string())});
    }
  }
  if (object.contains("__expr")) {
    return fail(Code::invalid_input, "the __expr escape is not supported", std::string(where),
                "Cedar took it out in version 3", "use __entity or __extn");
  }
  Record fields;
  for (const auto& [key, field] : object) {
    auto value = value_from_json(field, member_of(where, key));
    if (!value) return fail(std::move(value.error()));
    fields.emplace(std::string(key), std::move(*value));
  }
  return Value::record(std::move(fields));
}

}  // namespace

Result<json::value> parse_json(std::string_view text, std::string_view name) {
  if (text.size() > limits::document_max_bytes) {
    return fail(Code::limit, "the document is too long", std::string(name),
                fmt::format("{} bytes, at most {}", text.size(), limits::document_max_bytes));
  }
  json::parse_options options;
  options.max_depth = limits::document_depth;
  json::stream_parser parser({}, options);
  json::error_code error;
  const auto read = parser.write_some(text, error);
  if (!error && read < text.size()) error = json::make_error_code(json::error::extra_data);
  if (!error) parser.finish(error);
  if (error) {
    const Source source{std::string(name), std::string(text)};
    return fail(error == json::error::too_deep ? Code::limit : Code::invalid_input, "not valid JSON",
                source.where(static_cast<std::uint32_t>(std::min(read, text.size()))), error.message());
  }
  return parser.release();
}

Result<Value> value_from_json(const json::value& value, std::string_view where) {
  switch (value.kind()) {
    case json::kind::bool_: return Value(value.get_bool());
    case json::kind::int64: return Value(value.get_int64());
    case json::kind::string: return Value(std::string(value.get_string()));
    case json::kind::object: return object_from_json(value.get_object(), where);
    case json::kind::array: {
      std::vector<Value> elements;
      for (const auto& item : value.get_array()) {
        auto element = value_from_json(item, where);
        if (!element) return element;
        elements.push_back(std::move(*element));
      }
      return Value::set(std::move(elements));
    }
    case json::kind::null:
      return fail(Code::invalid_input, "null is not a value", std::string(where), {}, "leave the field out");
    case json::kind::uint64:
    case json::kind::double_: break;
  }
  return fail(Code::invalid_input, "not a whole number of 64 bits", std::string(where), {},
              "write a decimal as {\"__extn\": {\"fn\": \"decimal\", \"arg\": \"1.5\"}}");
}

Result<Record> record_from_json(const json::value* value, std::string_view where) {
  Record fields;
  if (value == nullptr) return fields;
  if (!value->is_object()) return fail(Code::invalid_input, "not an object", std::string(where));
  for (const auto& [key, field] : value->get_object()) {
    auto converted = value_from_json(field, member_of(where, key));
    if (!converted) return fail(std::move(converted.error()));
    fields.emplace(std::string(key), std::move(*converted));
  }
  return fields;
}

Result<EntityUid> uid_from_json(const json::value& value, std::string_view where) {
  if (value.is_string()) {
    const Source source{std::string(where), std::string(value.get_string())};
    auto cut = tokens_of(source);
    if (!cut) return fail(std::move(cut.error()));
    TokenStream tokens(source, std::move(*cut));
    auto uid = parse_entity(tokens);
    if (!tokens.failed() && !tokens.at(TokenKind::end)) tokens.unexpected("the end of the entity");
    if (tokens.failed()) return fail(*tokens.error());
    return uid;
  }
  const auto* object = value.if_object();
  if (object != nullptr && object->size() == 1 && object->contains("__entity"))
    return uid_from_json(object->at("__entity"), where);
  const auto* type = object == nullptr ? nullptr : object->if_contains("type");
  const auto* id = object == nullptr ? nullptr : object->if_contains("id");
  if (type == nullptr || id == nullptr || !type->is_string() || !id->is_string()) {
    return fail(Code::invalid_input, "not an entity", std::string(where), {},
                R"(write {"type": "Node", "id": "umc/modality"})");
  }
  return EntityUid{std::string(type->get_string()), std::string(id->get_string())};
}

}  // namespace epif::policy
