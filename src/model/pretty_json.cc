#include "model/pretty_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace epif {
namespace {

namespace json = boost::json;

constexpr std::size_t line_bytes = 100;

std::string flat(const json::value& value) {
  if (const auto* array = value.if_array()) {
    std::string text = "[";
    for (const auto& item : *array) text += (text.size() > 1 ? ", " : "") + flat(item);
    return text + "]";
  }
  if (const auto* object = value.if_object()) {
    std::string text = "{";
    for (const auto& [key, inner] : *object) {
      text += (text.size() > 1 ? ", " : "") + json::serialize(json::string(key)) + ": " + flat(inner);
    }
    return text + "}";
  }
  // Boost writes 21.0 as 2.1E1: right, and hard to read.
  if (const auto* number = value.if_double()) {
    auto text = fmt::format("{}", *number);
    return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
  }
  return json::serialize(value);
}

bool is_flat(const json::value& value) {
  const auto simple = [](const json::value& inner) {
    return !inner.is_structured() || (inner.is_array() && inner.get_array().empty()) ||
           (inner.is_object() && inner.get_object().empty());
  };
  if (const auto* array = value.if_array()) return std::ranges::all_of(*array, simple);
  if (const auto* object = value.if_object()) {
    return std::ranges::all_of(*object, [&](const auto& pair) { return simple(pair.value()); });
  }
  return true;
}

void print(std::string& out, const json::value& value, std::size_t indent) {
  if (is_flat(value)) {
    auto line = flat(value);
    if (!value.is_structured() || line.size() + indent <= line_bytes) {
      out += line;
      return;
    }
  }
  const std::string inset(indent + 2, ' ');
  const bool list = value.is_array();
  out += list ? "[\n" : "{\n";
  if (list) {
    const auto& items = value.get_array();
    for (std::size_t at = 0; at < items.size(); ++at) {
      out += inset;
      print(out, items[at], indent + 2);
      out += at + 1 < items.size() ? ",\n" : "\n";
    }
  } else {
    std::size_t left = value.get_object().size();
    for (const auto& [key, inner] : value.get_object()) {
      out += inset + json::serialize(json::string(key)) + ": ";
      print(out, inner, indent + 2);
      out += --left > 0 ? ",\n" : "\n";
    }
  }
  out += std::string(indent, ' ') + (list ? "]" : "}");
}

}  // namespace

std::string print_pretty(const json::value& value) {
  std::string out;
  print(out, value, 0);
  return out + "\n";
}

}  // namespace epif
