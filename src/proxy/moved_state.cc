#include "proxy/moved_state.h"

#include <boost/json.hpp>
#include <cmath>
#include <optional>

#include "base/bytes.h"

namespace epif::proxy {
namespace {

namespace json = boost::json;

// Each message has one of these as its only outer key. Identities and users are in hexadecimal: they need not be UTF-8.
constexpr std::string_view counts_key = "counts";
constexpr std::string_view rates_key = "rates";
constexpr std::string_view sessions_key = "sessions";
constexpr std::string_view ended_key = "ended_session";
constexpr std::string_view told_key = "state_told";
constexpr std::string_view keys[] = {counts_key, rates_key, sessions_key, ended_key, told_key};
constexpr std::string_view counted_names[] = {"connections", "udp_associations", "udp_next_proxies"};

/// A message is sent once it is as long; one item more fits in any case.
constexpr std::size_t full_bytes = limits::handover_message_max_bytes / 4;
/// More than any process holds: what is added to it must not run over.
constexpr std::uint64_t count_most = 1U << 24;
constexpr std::uint64_t memory_most = std::uint64_t{1} << 40;
constexpr std::uint64_t age_most_ms = std::uint64_t{1} << 32;

std::string message(std::string_view key, json::value value) { return json::serialize(json::object{{key, std::move(value)}}); }

/// Lists of items under one name each, in as many messages as they need.
class Pages {
 public:
  Pages(std::string_view key, json::object head) : key_(key), head_(std::move(head)), page_(head_) {}
  void add(std::string_view list, json::array item) {
    bytes_ += json::serialize(item).size() + 1;
    auto& items = page_.emplace(list, json::array()).first->value().as_array();
    items.push_back(std::move(item));
    if (bytes_ >= full_bytes) turn();
  }
  std::vector<std::string> take() {
    if (bytes_ > 0 || made_.empty()) turn();
    return std::move(made_);
  }

 private:
  void turn() {
    made_.push_back(message(key_, std::exchange(page_, head_)));
    bytes_ = 0;
  }
  std::string_view key_;
  json::object head_;
  json::object page_;
  std::size_t bytes_ = 0;
  std::vector<std::string> made_;
};

json::object head_of(Counted of) { return {{"of", counted_names[static_cast<std::size_t>(of)]}}; }

std::vector<std::string> print(const MovedCounts& counts) {
  Pages pages(counts_key, head_of(counts.of));
  for (const auto& [address, load] : counts.held.sources) {
    pages.add("sources", {address.text(), load.connections, load.handshakes, load.memory});
  }
  for (const auto& [route, count] : counts.held.routes) pages.add("routes", {route, count});
  return pages.take();
}

std::vector<std::string> print(const MovedRates& moved) {
  auto head = head_of(moved.of);
  head["all"] = moved.rates.all;
  Pages pages(rates_key, std::move(head));
  for (const auto& [address, left] : moved.rates.sources) pages.add("sources", {address.text(), left});
  return pages.take();
}

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
  Pages pages(sessions_key, {});
  for (const auto& one : sessions) pages.add("open", array_of(one));
  return pages.take();
}

std::vector<std::string> print(const EndedSession& ended) { return {message(ended_key, json::string(to_hex(ended.id)))}; }
std::vector<std::string> print(const StateTold&) { return {message(told_key, true)}; }

/// Reads the items of a list one after the other; what is wrong once stays wrong.
class Items {
 public:
  explicit Items(const json::value& value) : list_(value.if_array()), good_(list_ != nullptr) {}
  [[nodiscard]] std::size_t size() const { return list_ != nullptr ? list_->size() : 0; }
  std::string text() {
    const auto* value = next();
    const auto* text = value != nullptr ? value->if_string() : nullptr;
    if (text == nullptr) return good_ = false, std::string();
    return std::string(*text);
  }
  std::uint64_t count(std::uint64_t most) {
    const auto* value = next();
    const auto got = value != nullptr ? json::try_value_to<std::uint64_t>(*value) : json::result<std::uint64_t>(json::error::not_number);
    if (!got || *got > most) return good_ = false, 0;
    return *got;
  }
  double real() {
    const auto* value = next();
    const auto got = value != nullptr ? json::try_value_to<double>(*value) : json::result<double>(json::error::not_number);
    if (!got || !std::isfinite(*got)) return good_ = false, 0;
    return *got;
  }
  IpAddress address() {
    auto made = IpAddress::parse(text());
    if (!made) return good_ = false, IpAddress();
    return *made;
  }
  Bytes bytes() {
    const auto hex = text();
    auto made = from_hex(hex);
    check(made.size() * 2 == hex.size());
    return made;
  }
  void check(bool holds) { good_ = good_ && holds; }
  [[nodiscard]] bool good() const { return good_ && at_ == size(); }

 private:
  const json::value* next() { return at_ < size() ? &(*list_)[at_++] : nullptr; }
  const json::array* list_;
  std::size_t at_ = 0;
  bool good_;
};

using Object = const json::object&;

/// Reads each item of a list that may be missing. False if one is not good.
template <class Read>
bool for_each(Object object, std::string_view key, Read read) {
  const auto* value = object.if_contains(key);
  if (value == nullptr) return true;
  const auto* list = value->if_array();
  if (list == nullptr) return false;
  return std::ranges::all_of(*list, [&](const json::value& one) {
    Items items(one);
    read(items);
    return items.good();
  });
}

std::optional<Counted> read_counted(Object object) {
  const auto* value = object.if_contains("of");
  const auto* name = value != nullptr ? value->if_string() : nullptr;
  if (name == nullptr) return std::nullopt;
  const auto* found = std::ranges::find(counted_names, std::string_view(*name));
  if (found == std::end(counted_names)) return std::nullopt;
  return static_cast<Counted>(found - std::begin(counted_names));
}

std::optional<Told> read_counts(Object object) {
  const auto of = read_counted(object);
  MovedCounts made{of.value_or(Counted::connections), {}};
  const bool good = of && for_each(object, "sources", [&](Items& items) {
    auto& load = made.held.sources[items.address()];
    load.connections = static_cast<std::uint32_t>(items.count(count_most));
    load.handshakes = static_cast<std::uint32_t>(items.count(count_most));
    load.memory = items.count(memory_most);
  }) && for_each(object, "routes", [&](Items& items) {
    auto route = items.text();
    made.held.routes[std::move(route)] = static_cast<std::uint32_t>(items.count(count_most));
  });
  if (!good) return std::nullopt;
  return made;
}

std::optional<Told> read_rates(Object object) {
  const auto of = read_counted(object);
  const auto* all = object.if_contains("all");
  const auto left = all != nullptr ? json::try_value_to<double>(*all) : json::result<double>(json::error::not_number);
  if (!of || !left || !std::isfinite(*left)) return std::nullopt;
  MovedRates made{*of, {*left, {}}};
  const bool good = for_each(object, "sources", [&](Items& items) {
    const auto address = items.address();
    made.rates.sources[address] = items.real();
  });
  if (!good) return std::nullopt;
  return made;
}

std::optional<admission::TokenWindow> read_window(Items& items) {
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

std::optional<Told> read_sessions(Object object) {
  MovedSessions made;
  const bool good = for_each(object, "open", [&](Items& items) {
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
  const auto* object = inner.if_object();
  if (object == nullptr) return std::nullopt;
  if (key == counts_key) return read_counts(*object);
  if (key == rates_key) return read_rates(*object);
  if (key == sessions_key) return read_sessions(*object);
  return std::nullopt;
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

net::Limiter::Held changes(const net::Limiter::Held& before, const net::Limiter::Held& now) {
  net::Limiter::Held made;
  const auto compare = [](const auto& old, const auto& fresh, auto& out) {
    for (const auto& [key, value] : fresh) {
      const auto found = old.find(key);
      if (found == old.end() || found->second != value) out.emplace(key, value);
    }
    for (const auto& [key, value] : old) {
      if (!fresh.contains(key)) out.emplace(key, std::remove_cvref_t<decltype(value)>{});
    }
  };
  compare(before.sources, now.sources, made.sources);
  compare(before.routes, now.routes, made.routes);
  return made;
}

}  // namespace epif::proxy
