#include "policy/value.h"

#include <fmt/format.h>

#include <algorithm>

namespace epif::policy {
namespace {

constexpr std::size_t printed_max_bytes = 200;

void print(const Value& value, std::string& out);

struct Printer {
  std::string& out;

  void operator()(bool value) const { out += value ? "true" : "false"; }
  void operator()(std::int64_t value) const { out += std::to_string(value); }
  void operator()(const std::string& value) const { out += quoted(value); }
  void operator()(const EntityUid& value) const { out += value.text(); }
  void operator()(const Decimal& value) const {
    const auto magnitude = value.ten_thousandths < 0 ? 0 - static_cast<std::uint64_t>(value.ten_thousandths)
                                                     : static_cast<std::uint64_t>(value.ten_thousandths);
    out +=
        fmt::format("decimal(\"{}{}.{:04}\")", value.ten_thousandths < 0 ? "-" : "", magnitude / 10'000, magnitude % 10'000);
  }
  void operator()(const IpRange& value) const { out += fmt::format("ip(\"{}/{}\")", value.address.text(), value.prefix); }
  void operator()(const Datetime& value) const {
    out += fmt::format("datetime(\"1970-01-01\").offset(duration(\"{}ms\"))", value.unix_ms);
  }
  void operator()(const Duration& value) const { out += fmt::format("duration(\"{}ms\")", value.ms); }
  void operator()(const std::shared_ptr<const Set>& value) const {
    out += '[';
    for (const auto& element : *value) {
      if (out.back() != '[') out += ", ";
      if (out.size() > printed_max_bytes) break;
      print(element, out);
    }
    out += ']';
  }
  void operator()(const std::shared_ptr<const Record>& value) const {
    out += '{';
    for (const auto& [key, field] : *value) {
      if (out.back() != '{') out += ", ";
      if (out.size() > printed_max_bytes) break;
      out += quoted(key) + ": ";
      print(field, out);
    }
    out += '}';
  }
};

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          out += fmt::format("\\u{{{:x}}}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  return out += '"';
}

std::string EntityUid::text() const {
  return type + "::" + quoted(id);
}

Value Value::set(std::vector<Value> elements) {
  std::sort(elements.begin(), elements.end());
  elements.erase(std::unique(elements.begin(), elements.end()), elements.end());
  Value value;
  value.storage_ = std::make_shared<const Set>(std::move(elements));
  return value;
}

Value Value::record(Record fields) {
  Value value;
  value.storage_ = std::make_shared<const Record>(std::move(fields));
  return value;
}

std::string_view Value::type_name() const {
  static constexpr std::string_view names[] = {"bool",   "long",    "string", "entity",   "set",
                                               "record", "decimal", "ipaddr", "datetime", "duration"};
  static_assert(std::size(names) == std::variant_size_v<Storage>);
  return names[storage_.index()];
}

namespace {
void print(const Value& value, std::string& out) {
  out += value.text();
}
}  // namespace

std::string Value::text() const {
  std::string out;
  std::visit(Printer{out}, storage_);
  if (out.size() > printed_max_bytes) {
    auto end = printed_max_bytes;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xc0) == 0x80) --end;  // not inside a UTF-8 sequence
    out.resize(end);
    out += "...";
  }
  return out;
}

std::strong_ordering operator<=>(const Value& a, const Value& b) {
  if (a.storage_.index() != b.storage_.index()) return a.storage_.index() <=> b.storage_.index();
  return std::visit(
      [&b]<class T>(const T& left) -> std::strong_ordering {
        const auto& right = std::get<T>(b.storage_);
        if constexpr (requires { left.get(); }) {
          if (left == right) return std::strong_ordering::equal;  // the same object
          return std::lexicographical_compare_three_way(left->begin(), left->end(), right->begin(), right->end());
        } else {
          return left <=> right;
        }
      },
      a.storage_);
}

bool contains(const Set& set, const Value& element) {
  return std::binary_search(set.begin(), set.end(), element);
}

}  // namespace epif::policy
