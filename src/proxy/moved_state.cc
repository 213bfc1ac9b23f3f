#include "proxy/moved_state.h"

#include <optional>

#include "base/bytes.h"
#include "net/told_limits.h"
#include "net/told_lists.h"

namespace epif::proxy {
namespace {

namespace json = boost::json;

// Each message has one of these as its only outer key. Identities and users are in hexadecimal: they need not be UTF-8.
constexpr std::string_view sessions_key = "sessions";
constexpr std::string_view ended_key = "ended_session";
constexpr std::string_view told_key = "state_told";
constexpr std::string_view keys[] = {net::told_counts_key, net::told_rates_key, sessions_key, ended_key, told_key};
constexpr std::string_view counted_names[] = {"connections", "udp_associations", "udp_next_proxies"};

constexpr std::uint64_t age_most_ms = std::uint64_t{1} << 32;

std::string message(std::string_view key, json::value value) { return json::serialize(json::object{{key, std::move(value)}}); }

std::string_view name_of(Counted of) { return counted_names[static_cast<std::size_t>(of)]; }

std::vector<std::string> print(const MovedCounts& counts) { return net::print_counts(name_of(counts.of), counts.held); }
std::vector<std::string> print(const MovedRates& moved) { return net::print_rates(name_of(moved.of), moved.rates); }

std::string hex_of(std::string_view text) { return to_hex(as_bytes(text)); }

json::array array_of(const admission::MovedSession& session) {
  json::array made{to_hex(session.id), hex_of(session.owner.identity), hex_of(session.owner.user), session.owner.source.text(),
                   session.age.count(), session.idle.count(), to_hex(session.proof)};
  if (!session.window) return made;
  const auto spent = session.window->spent();
  Bytes bits((spent.size() + 7) / 8);
  for (std::size_t i = 0; i < spent.size(); ++i) bits[i / 8] |= static_cast<std::uint8_t>(spent[i] ? 1U << (i % 8) : 0);
  made.insert(made.end(), {json::value(session.window->base()), json::value(session.window->size()), json::value(to_hex(bits))});
  return made;
}

std::vector<std::string> print(const MovedSessions& sessions) {
  if (sessions.empty()) return {};
  net::ToldPages pages(sessions_key, {});
  for (const auto& one : sessions) pages.add("open", array_of(one));
  return pages.take();
}

std::vector<std::string> print(const EndedSession& ended) { return {message(ended_key, json::string(to_hex(ended.id)))}; }
std::vector<std::string> print(const StateTold&) { return {message(told_key, true)}; }

std::optional<Counted> counted_by(std::string_view name) {
  const auto* found = std::ranges::find(counted_names, name);
  if (found == std::end(counted_names)) return std::nullopt;
  return static_cast<Counted>(found - std::begin(counted_names));
}

std::optional<Told> read_limits(std::string_view key, const json::value& inner) {
  auto told = net::read_limits(key, inner);
  if (!told) return std::nullopt;
  const auto of = counted_by(std::visit([](const auto& one) -> std::string_view { return one.of; }, *told));
  if (!of) return std::nullopt;
  if (auto* counts = std::get_if<net::ToldCounts>(&*told)) return MovedCounts{*of, std::move(counts->held)};
  return MovedRates{*of, std::get<net::ToldRates>(std::move(*told)).rates};
}

std::optional<admission::TokenWindow> read_window(net::ToldItem& items) {
  const auto base = static_cast<std::uint32_t>(items.count(0xffffffff));
  const auto size = items.count(limits::token_window_max);
  const auto bits = items.bytes();
  items.check(size > 0 && bits.size() == (size + 7) / 8);
  if (!items.good()) return std::nullopt;
  std::vector<bool> spent(size);
  for (std::size_t i = 0; i < size; ++i) spent[i] = (bits[i / 8] >> (i % 8) & 1U) != 0;
  return admission::TokenWindow(base, std::move(spent));
}

std::optional<admission::SessionId> id_of(const Bytes& bytes) {
  admission::SessionId made{};
  if (bytes.size() != made.size()) return std::nullopt;
  std::ranges::copy(bytes, made.begin());
  return made;
}

std::optional<Told> read_sessions(const json::object& object) {
  MovedSessions made;
  const bool good = net::for_each_told(object, "open", [&](net::ToldItem& items) {
    admission::MovedSession session;
    const auto id = id_of(items.bytes());
    items.check(id.has_value());
    session.id = id.value_or(admission::SessionId{});
    session.owner.identity = as_text(items.bytes());
    session.owner.user = as_text(items.bytes());
    session.owner.source = items.address();
    session.age = std::chrono::milliseconds(items.count(age_most_ms));
    session.idle = std::chrono::milliseconds(items.count(age_most_ms));
    session.proof = items.bytes();
    if (!items.good()) session.window = read_window(items);
    made.push_back(std::move(session));
  });
  if (!good) return std::nullopt;
  return made;
}

std::optional<Told> read(std::string_view key, const json::value& inner) {
  if (key == ended_key) {
    const auto id = inner.is_string() ? id_of(from_hex(inner.get_string())) : std::nullopt;
    return id ? std::optional<Told>(EndedSession{*id}) : std::nullopt;
  }
  if (key == told_key) return StateTold{};
  if (key != sessions_key) return read_limits(key, inner);
  const auto* object = inner.if_object();
  return object != nullptr ? read_sessions(*object) : std::nullopt;
}

}  // namespace

std::vector<std::string> print_told(const Told& told) {
  return std::visit([](const auto& one) { return print(one); }, told);
}

bool is_told(std::string_view text) {
  return std::ranges::any_of(keys, [&](std::string_view key) { return text.starts_with("{\"" + std::string(key) + "\""); });
}

Result<Told> parse_told(std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error, {}, {.max_depth = 8});
  const auto* object = error ? nullptr : value.if_object();
  std::optional<Told> made;
  if (object != nullptr && object->size() == 1) made = read(object->begin()->key(), object->begin()->value());
  if (!made) return fail(Code::protocol, "what the old process tells is not understood");
  return std::move(*made);
}

}  // namespace epif::proxy
