#include "net/told_lists.h"

#include <cmath>
#include <utility>

#include "base/limits.h"

namespace epif::net {
namespace {

namespace json = boost::json;

/// A message is sent once it is as long; one item more fits in any case.
constexpr std::size_t full_bytes = limits::handover_message_max_bytes / 4;

}  // namespace

ToldPages::ToldPages(std::string_view key, json::object head) : key_(key), head_(std::move(head)), page_(head_) {}

void ToldPages::add(std::string_view list, json::array item) {
  bytes_ += json::serialize(item).size() + 1;
  auto& items = page_.emplace(list, json::array()).first->value().as_array();
  items.push_back(std::move(item));
  if (bytes_ >= full_bytes) turn();
}

std::vector<std::string> ToldPages::take() {
  if (bytes_ > 0 || made_.empty()) turn();
  return std::move(made_);
}

void ToldPages::turn() {
  made_.push_back(json::serialize(json::object{{key_, std::exchange(page_, head_)}}));
  bytes_ = 0;
}

ToldItem::ToldItem(const json::value& value) : list_(value.if_array()), good_(list_ != nullptr) {}

std::string ToldItem::text() {
  const auto* value = next();
  const auto* text = value != nullptr ? value->if_string() : nullptr;
  if (text == nullptr) return good_ = false, std::string();
  return std::string(*text);
}

std::uint64_t ToldItem::count(std::uint64_t most) {
  const auto* value = next();
  const auto got = value != nullptr ? json::try_value_to<std::uint64_t>(*value) : json::result<std::uint64_t>(json::error::not_number);
  if (!got || *got > most) return good_ = false, 0;
  return *got;
}

double ToldItem::real() {
  const auto* value = next();
  const auto got = value != nullptr ? json::try_value_to<double>(*value) : json::result<double>(json::error::not_number);
  if (!got || !std::isfinite(*got)) return good_ = false, 0;
  return *got;
}

IpAddress ToldItem::address() {
  auto made = IpAddress::parse(text());
  if (!made) return good_ = false, IpAddress();
  return *made;
}

Bytes ToldItem::bytes() {
  const auto hex = text();
  auto made = from_hex(hex);
  check(made.size() * 2 == hex.size());
  return made;
}

}  // namespace epif::net
