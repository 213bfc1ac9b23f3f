#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ip.h"

/// The values of the Cedar language (Cedar reference guide, "Data types"). All are immutable and cheap to copy.
namespace epif::policy {

class Value;
using Set = std::vector<Value>;  ///< sorted, without duplicates
using Record = std::map<std::string, Value, std::less<>>;

/// Type::"id". `type` may carry a namespace: "Hospital::Node".
struct EntityUid {
  std::string type;
  std::string id;

  [[nodiscard]] std::string text() const;
  friend auto operator<=>(const EntityUid&, const EntityUid&) = default;
};

/// A decimal number with four digits after the point, counted in units of 1/10000.
struct Decimal {
  std::int64_t ten_thousandths = 0;
  friend auto operator<=>(const Decimal&, const Decimal&) = default;
};

/// A block of addresses; unlike base's Cidr the host bits of `address` count in equality.
struct IpRange {
  IpAddress address;
  std::uint8_t prefix = 32;
  friend auto operator<=>(const IpRange&, const IpRange&) = default;
};

/// Milliseconds since 1970-01-01T00:00:00Z, may be negative.
struct Datetime {
  std::int64_t unix_ms = 0;
  friend auto operator<=>(const Datetime&, const Datetime&) = default;
};

struct Duration {
  std::int64_t ms = 0;
  friend auto operator<=>(const Duration&, const Duration&) = default;
};

class Value {
 public:
  using Storage = std::variant<bool, std::int64_t, std::string, EntityUid, std::shared_ptr<const Set>,
                               std::shared_ptr<const Record>, Decimal, IpRange, Datetime, Duration>;

  explicit Value(bool value = false) : storage_(value) {}
  explicit Value(std::int64_t value) : storage_(value) {}
  explicit Value(std::string value) : storage_(std::move(value)) {}
  explicit Value(EntityUid value) : storage_(std::move(value)) {}
  explicit Value(Decimal value) : storage_(value) {}
  explicit Value(IpRange value) : storage_(value) {}
  explicit Value(Datetime value) : storage_(value) {}
  explicit Value(Duration value) : storage_(value) {}
  explicit Value(const char*) = delete;  // would become a bool
  /// Sorts `elements` and drops duplicates.
  [[nodiscard]] static Value set(std::vector<Value> elements);
  [[nodiscard]] static Value record(Record fields);

  /// The value as `T`, or nullptr when it is of another type. Set and Record stand for their shared pointers' targets.
  template <class T>
  [[nodiscard]] const T* get() const {
    if constexpr (std::is_same_v<T, Set> || std::is_same_v<T, Record>) {
      const auto* held = std::get_if<std::shared_ptr<const T>>(&storage_);
      return held == nullptr ? nullptr : held->get();
    } else {
      return std::get_if<T>(&storage_);
    }
  }

  /// "bool", "long", "string", "entity", "set", "record", "decimal", "ipaddr", "datetime", "duration".
  [[nodiscard]] std::string_view type_name() const;
  /// As it would stand in a policy; cut with "..." near 200 bytes.
  [[nodiscard]] std::string text() const;

  /// Equality is Cedar's ==: values of different types differ. The order is total and arbitrary between types.
  friend bool operator==(const Value& a, const Value& b) { return (a <=> b) == 0; }
  friend std::strong_ordering operator<=>(const Value& a, const Value& b);

 private:
  Storage storage_;
};

/// Whether `element` stands in `set`.
[[nodiscard]] bool contains(const Set& set, const Value& element);

/// Text in double quotes with Cedar's escapes.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace epif::policy
