#include "bridge/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <limits>

#include "base/limits.h"

namespace epif::bridge {
namespace {

namespace json = boost::json;

constexpr std::string_view where = "BF contract";

json::object object_of(const TextMap& map) {
  json::object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}

Bytes packet(const json::object& object, ByteSpan first = {}, ByteSpan second = {}) {
  const auto text = json::serialize(object);
  Bytes out;
  out.reserve(text.size() + 1 + first.size() + second.size());
  out.insert(out.end(), text.begin(), text.end());
  out.push_back('\n');
  out.insert(out.end(), first.begin(), first.end());
  out.insert(out.end(), second.begin(), second.end());
  return out;
}

json::object header(std::string_view type, std::uint64_t conn) {
  json::object out;
  out["type"] = type;
  out["conn"] = conn;
  return out;
}

struct Encoder {
  Bytes operator()(const Open& open) const {
    auto out = header("open", open.conn);
    out["contract"] = contract_version;
    out["flow"] = open.flow;
    out["position"] = open.position;
    out["length"] = open.length;
    out["source"] = open.source;
    out["destination"] = open.destination;
    out["data"] = open.data;
    out["purpose"] = open.purpose;
    out["parameters"] = object_of(open.parameters);
    if (!open.key.empty()) out["key"] = to_base64(open.key);
    out["metadata"] = object_of(open.metadata);
    return packet(out);
  }
  Bytes operator()(const Start& start) const {
    auto out = header("start", start.conn);
    out["direct"] = json::array{start.direct_client, start.direct_server};
    out["early"] = json::array{start.early_client.size(), start.early_server.size()};
    return packet(out, start.early_client, start.early_server);
  }
  Bytes operator()(const Cut& cut) const {
    auto out = header("cut", cut.conn);
    out["reason"] = cut.reason;
    return packet(out);
  }
  Bytes operator()(const Accept& accept) const {
    auto out = header("accept", accept.conn);
    if (!accept.metadata.empty()) out["metadata"] = object_of(accept.metadata);
    if (accept.may_release) out["may_release"] = true;
    return packet(out);
  }
  Bytes operator()(const Deny& deny) const {
    auto out = header("deny", deny.conn);
    out["reason"] = deny.reason;
    return packet(out);
  }
  Bytes operator()(const End& end) const {
    auto out = header("end", end.conn);
    out["direction"] = name(end.direction);
    out["bytes"] = end.bytes;
    return packet(out);
  }
  Bytes operator()(const Release& release) const {
    auto out = header("release", release.conn);
    out["bytes_to_server"] = release.bytes_to_server;
    out["bytes_to_client"] = release.bytes_to_client;
    return packet(out);
  }
  Bytes operator()(const Report& report) const {
    auto out = header("report", report.conn);
    out["bytes_to_server"] = report.bytes_to_server;
    out["bytes_to_client"] = report.bytes_to_client;
    out["verdict"] = report.verdict;
    out["note"] = report.note;
    out["detail"] = object_of(report.detail);
    return packet(out);
  }
};

/// Reads fields and keeps the first fault; a reader goes on with empty values after one.
class Fields {
 public:
  explicit Fields(const json::object& object) : object_(object) {}

  std::string text(std::string_view key, std::size_t max_bytes, bool required = true) {
    const auto* value = object_.if_contains(key);
    if (value == nullptr) return required ? fault(key, "is missing"), std::string{} : std::string{};
    if (!value->is_string()) return fault(key, "is not a string"), std::string{};
    const auto& string = value->get_string();
    if (string.size() > max_bytes) return fault(key, "is too long"), std::string{};
    return std::string(string.data(), string.size());
  }
  std::uint64_t number(std::string_view key) {
    const auto* value = object_.if_contains(key);
    return value == nullptr ? (fault(key, "is missing"), 0) : count(key, *value);
  }
  std::uint32_t small(std::string_view key) {
    const auto value = number(key);
    if (value > std::numeric_limits<std::uint32_t>::max()) return fault(key, "is too large"), 0;
    return static_cast<std::uint32_t>(value);
  }
  bool flag(std::string_view key) {
    const auto* value = object_.if_contains(key);
    if (value == nullptr) return false;
    if (!value->is_bool()) return fault(key, "is not true or false"), false;
    return value->get_bool();
  }
  TextMap map(std::string_view key) {
    TextMap out;
    const auto* value = object_.if_contains(key);
    if (value == nullptr) return out;
    if (!value->is_object()) return fault(key, "is not an object"), out;
    if (value->get_object().size() > limits::bf_map_entries) return fault(key, "has too many entries"), out;
    for (const auto& [name, item] : value->get_object()) {
      if (!item.is_string()) return fault(key, "holds something else than strings"), TextMap{};
      const std::string_view entry_name(name.data(), name.size());
      const auto& entry = item.get_string();
      out.emplace(std::string(entry_name), std::string(entry.data(), entry.size()));
    }
    return out;
  }
  const json::array* pair(std::string_view key) {
    const auto* value = object_.if_contains(key);
    if (value == nullptr || !value->is_array() || value->get_array().size() != 2) {
      fault(key, "is not a pair");
      return nullptr;
    }
    return &value->get_array();
  }
  std::uint64_t count(std::string_view key, const json::value& value) {
    if (value.is_uint64()) return value.get_uint64();
    if (value.is_int64() && value.get_int64() >= 0) return static_cast<std::uint64_t>(value.get_int64());
    return fault(key, "is not a whole number from 0"), 0;
  }
  void fault(std::string_view key, std::string_view what) {
    if (fault_.empty()) fault_ = fmt::format("field \"{}\" {}", key, what);
  }
  template <class Value>
  Result<Value> done(Value value) const {
    if (!fault_.empty()) return fail(Code::protocol, fault_, std::string(where));
    return value;
  }
  [[nodiscard]] bool good() const { return fault_.empty(); }

 private:
  const json::object& object_;
  std::string fault_;
};

struct Packet {
  json::object object;
  std::string type;
  ByteSpan payload;
};

Result<Packet> split(ByteSpan bytes) {
  if (bytes.size() > limits::bf_message_max_bytes) return fail(Code::protocol, "message is too long", std::string(where));
  const auto text = as_text(bytes);
  const auto newline = text.find('\n');
  if (newline == std::string_view::npos) return fail(Code::protocol, "message has no newline after its object", std::string(where));
  json::parse_options options;
  options.max_depth = 4;
  boost::system::error_code error;
  auto value = json::parse(json::string_view(text.data(), newline), error, {}, options);
  if (error || !value.is_object()) return fail(Code::protocol, "message is not a JSON object", std::string(where), error ? error.message() : "");
  Packet out{std::move(value.get_object()), {}, bytes.subspan(newline + 1)};
  const auto* type = out.object.if_contains("type");
  if (type == nullptr || !type->is_string()) return fail(Code::protocol, "message has no type", std::string(where));
  out.type = std::string(type->get_string());
  if (out.type != "start" && !out.payload.empty())
    return fail(Code::protocol, "bytes after the object of a message without payload", std::string(where));
  return out;
}

Result<ToFunction> read_open(Fields& fields) {
  Open open;
  if (fields.number("contract") != contract_version) fields.fault("contract", "names another version than 1");
  open.conn = fields.number("conn");
  open.flow = fields.text("flow", limits::name_max_bytes);
  open.position = fields.small("position");
  open.length = fields.small("length");
  open.source = fields.text("source", limits::bf_text_max_bytes);
  open.destination = fields.text("destination", limits::bf_text_max_bytes);
  open.data = fields.text("data", limits::name_max_bytes);
  open.purpose = fields.text("purpose", limits::bf_text_max_bytes, false);
  open.parameters = fields.map("parameters");
  const auto key = fields.text("key", limits::name_max_bytes, false);
  open.key = from_base64(key);
  if (!key.empty() && open.key.size() != 32) fields.fault("key", "is not base64 of 32 bytes");
  open.metadata = fields.map("metadata");
  return fields.done(ToFunction{std::move(open)});
}

Result<ToFunction> read_start(Fields& fields, ByteSpan payload) {
  Start start;
  start.conn = fields.number("conn");
  const auto* direct = fields.pair("direct");
  if (direct != nullptr) {
    if (!(*direct)[0].is_bool() || !(*direct)[1].is_bool()) fields.fault("direct", "is not a pair of true or false");
    else start.direct_client = (*direct)[0].get_bool(), start.direct_server = (*direct)[1].get_bool();
  }
  const auto* early = fields.pair("early");
  if (early != nullptr) {
    const auto client = fields.count("early", (*early)[0]);
    const auto server = fields.count("early", (*early)[1]);
    if (client > limits::bf_early_max_bytes || server > limits::bf_early_max_bytes || client + server != payload.size())
      fields.fault("early", "does not fit the bytes that follow");
    if (fields.good()) {
      start.early_client.assign(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(client));
      start.early_server.assign(payload.begin() + static_cast<std::ptrdiff_t>(client), payload.end());
    }
  }
  return fields.done(ToFunction{std::move(start)});
}

Cut read_cut(Fields& fields) { return {fields.number("conn"), fields.text("reason", limits::bf_text_max_bytes)}; }

Result<FromFunction> read_report(Fields& fields) {
  Report report;
  report.conn = fields.number("conn");
  report.bytes_to_server = fields.number("bytes_to_server");
  report.bytes_to_client = fields.number("bytes_to_client");
  report.verdict = fields.text("verdict", limits::name_max_bytes);
  report.note = fields.text("note", limits::bf_text_max_bytes, false);
  report.detail = fields.map("detail");
  return fields.done(FromFunction{std::move(report)});
}

Result<FromFunction> read_end(Fields& fields) {
  End end;
  end.conn = fields.number("conn");
  const auto direction = fields.text("direction", limits::name_max_bytes);
  if (direction != name(Direction::to_server) && direction != name(Direction::to_client))
    fields.fault("direction", "is neither to_server nor to_client");
  end.direction = direction == name(Direction::to_server) ? Direction::to_server : Direction::to_client;
  end.bytes = fields.number("bytes");
  return fields.done(FromFunction{end});
}

}  // namespace

std::string_view name(Direction direction) { return direction == Direction::to_server ? "to_server" : "to_client"; }

Bytes encode(const ToFunction& message) { return std::visit(Encoder{}, message); }
Bytes encode(const FromFunction& message) { return std::visit(Encoder{}, message); }

Result<ToFunction> decode_to_function(ByteSpan bytes) {
  auto packet = split(bytes);
  if (!packet) return fail(packet.error());
  Fields fields(packet->object);
  if (packet->type == "open") return read_open(fields);
  if (packet->type == "start") return read_start(fields, packet->payload);
  if (packet->type == "cut") return fields.done(ToFunction{read_cut(fields)});
  return fail(Code::protocol, "a proxy sends no such message", std::string(where), "type " + packet->type);
}

Result<FromFunction> decode_from_function(ByteSpan bytes) {
  auto packet = split(bytes);
  if (!packet) return fail(packet.error());
  Fields fields(packet->object);
  if (packet->type == "accept") {
    Accept accept{fields.number("conn"), fields.map("metadata"), fields.flag("may_release")};
    return fields.done(FromFunction{std::move(accept)});
  }
  if (packet->type == "deny") {
    Deny deny{fields.number("conn"), fields.text("reason", limits::bf_text_max_bytes)};
    return fields.done(FromFunction{std::move(deny)});
  }
  if (packet->type == "end") return read_end(fields);
  if (packet->type == "cut") return fields.done(FromFunction{read_cut(fields)});
  if (packet->type == "release") {
    Release release{fields.number("conn"), fields.number("bytes_to_server"), fields.number("bytes_to_client")};
    return fields.done(FromFunction{release});
  }
  if (packet->type == "report") return read_report(fields);
  return fail(Code::protocol, "a function sends no such message", std::string(where), "type " + packet->type.substr(0, 64));
}

std::uint64_t connection_of(const FromFunction& message) {
  return std::visit([](const auto& one) { return one.conn; }, message);
}

}  // namespace epif::bridge
