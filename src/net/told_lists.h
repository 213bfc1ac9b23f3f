#pragma once
#include <boost/json.hpp>
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ip.h"

/// Lists of items in messages of JSON, {KEY: {HEAD..., LIST: [[ITEM...], ...]}}: what one process tells another in as many messages as
/// it needs. Pure.
namespace epif::net {

class ToldPages {
 public:
  /// Each message has `key` as its only outer key, and all of `head`.
  ToldPages(std::string_view key, boost::json::object head);
  void add(std::string_view list, boost::json::array item);
  /// At least one message.
  [[nodiscard]] std::vector<std::string> take();

 private:
  void turn();
  std::string_view key_;
  boost::json::object head_;
  boost::json::object page_;
  std::size_t bytes_ = 0;
  std::vector<std::string> made_;
};

/// Reads the parts of one item one after the other; what is wrong once stays wrong.
class ToldItem {
 public:
  explicit ToldItem(const boost::json::value& value);
  [[nodiscard]] std::string text();
  [[nodiscard]] std::uint64_t count(std::uint64_t most);
  [[nodiscard]] double real();  ///< finite
  [[nodiscard]] IpAddress address();
  [[nodiscard]] Bytes bytes();  ///< told in hexadecimal
  void check(bool holds) { good_ = good_ && holds; }
  /// All was right, and nothing is left.
  [[nodiscard]] bool good() const { return good_ && at_ == size(); }

 private:
  [[nodiscard]] std::size_t size() const { return list_ != nullptr ? list_->size() : 0; }
  const boost::json::value* next() { return at_ < size() ? &(*list_)[at_++] : nullptr; }
  const boost::json::array* list_;
  std::size_t at_ = 0;
  bool good_;
};

/// Reads each item of a list that may be missing. False if one is not good.
template <class Read>
[[nodiscard]] bool for_each_told(const boost::json::object& object, std::string_view list, Read read) {
  const auto* value = object.if_contains(list);
  if (value == nullptr) return true;
  const auto* items = value->if_array();
  if (items == nullptr) return false;
  return std::ranges::all_of(*items, [&](const boost::json::value& one) {
    ToldItem item(one);
    read(item);
    return item.good();
  });
}

}  // namespace epif::net
