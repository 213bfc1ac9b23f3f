#include "api/users_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "api/pki.h"
#include "model/document.h"
#include "model/field_place.h"

namespace epif::api {
namespace {

constexpr std::string_view source = "request.json:";
constexpr std::size_t first_line = 2;  ///< of the first resource in body_of()

/// "LINE[:COLUMN]" at the beginning of `text`; `size`: how much of it that is.
struct Place {
  std::size_t line = 0;
  std::size_t column = 0;
  std::size_t size = 0;
};
Place read_place(std::string_view text) {
  Place place;
  const auto* const end = text.data() + text.size();
  auto at = std::from_chars(text.data(), end, place.line);
  if (at.ec != std::errc()) return {};
  if (at.ptr != end && *at.ptr == ':') {
    if (const auto column = std::from_chars(at.ptr + 1, end, place.column); column.ec == std::errc()) at = column;
  }
  place.size = static_cast<std::size_t>(at.ptr - text.data());
  return place;
}

const Resource* resource_at(std::span<const Resource> resources, std::size_t line) {
  return line >= first_line && line - first_line < resources.size() ? &resources[line - first_line] : nullptr;
}

const Resource* find(std::span<const Resource> resources, Kind kind, std::string_view object) {
  const auto found = std::ranges::find_if(resources, [&](const Resource& one) { return kind_of(one) == kind && metadata_of(one).full_name() == object; });
  return found == resources.end() ? nullptr : &*found;
}

std::string label(const Resource& resource) { return fmt::format("{} '{}'", name(kind_of(resource)), metadata_of(resource).full_name()); }

/// A policy's own text has places that its document knows.
std::string place_in(const Resource& resource, const Place& place) {
  const auto* policy = std::get_if<Policy>(&resource);
  const bool in_text = policy != nullptr && place.column > 1 && policy->text_origin.line != 0;
  return (in_text ? policy->text_origin : metadata_of(resource).origin).text();
}

/// Every "request.json:L:C" in `text` becomes the user's place.
std::string replaced(std::string text, std::span<const Resource> resources) {
  for (std::size_t at = 0; (at = text.find(source, at)) != text.npos;) {
    const auto place = read_place(std::string_view(text).substr(at + source.size()));
    const auto* resource = resource_at(resources, place.line);
    const auto users = resource == nullptr ? std::string("the input") : place_in(*resource, place);
    text.replace(at, source.size() + place.size, users);
    at += users.size();
  }
  return text;
}

/// Policies of several lines are counted by themselves there: "Policy/NAME:L:C".
const Policy* policy_in(const std::string& where, std::span<const Resource> resources, Place& place) {
  for (const auto& resource : resources) {
    const auto* policy = std::get_if<Policy>(&resource);
    if (policy == nullptr) continue;
    const auto start = fmt::format("Policy/{}:", policy->metadata.name);
    if (!where.starts_with(start)) continue;
    place = read_place(std::string_view(where).substr(start.size()));
    return policy;
  }
  return nullptr;
}

std::string line_of_policy(const Policy& policy, const Place& place) {
  auto origin = policy.text_origin;
  const bool block = origin.line != 0 && !origin.file.ends_with(".json");  // JSON writes many lines as one
  if (!block) return origin.line == 0 ? policy.metadata.origin.text() : origin.text();
  origin.line += static_cast<int>(place.line) - 1;
  origin.column = static_cast<int>(place.column);
  return origin.text();
}

std::string place_of(const Resource& resource, const std::string& field) {
  const auto& document = metadata_of(resource).origin;
  const auto text = document.file.empty() || document.file == "stdin" ? Result<std::string>(fail(Code::not_found, "")) : read_file(document.file);
  return text ? field_place(*text, document, field).text() : document.text();
}

const Resource* named_by(const std::string& where, std::span<const Resource> resources) {
  const auto found = std::ranges::find_if(resources, [&](const Resource& one) {
    return where == fmt::format("{} {}", name(kind_of(one)), metadata_of(one).full_name());
  });
  return found == resources.end() ? nullptr : &*found;
}

}  // namespace

std::string body_of(std::span<const Resource> resources) {
  std::string body = "[\n";
  for (std::size_t i = 0; i < resources.size(); ++i) body += to_json(resources[i]) + (i + 1 < resources.size() ? ",\n" : "\n");
  return body + "]\n";
}

Error in_users_words(Error error, std::span<const Resource> resources) {
  const auto where = error.where;
  error.where = replaced(std::move(error.where), resources);
  error.why = replaced(std::move(error.why), resources);
  const auto subject = subject_of(error);
  error.what = replaced(std::move(error.what), resources);
  if (const auto* about = subject ? find(resources, subject->kind, subject->object) : nullptr) {
    error.where = place_of(*about, subject->field);
    return error;
  }
  if (subject) return error;
  Place in_text;
  if (const auto* policy = policy_in(where, resources, in_text)) {
    error.where = line_of_policy(*policy, in_text);
    error.what = fmt::format("Policy '{}', spec.text: {}", policy->metadata.name, error.what);
    return error;
  }
  const auto at = where.starts_with(source) ? read_place(std::string_view(where).substr(source.size())) : Place{};
  if (const auto* resource = resource_at(resources, at.line)) {
    const bool text = std::holds_alternative<Policy>(*resource);
    error.what = fmt::format("{}{}: {}", label(*resource), text ? ", spec.text" : "", error.what);
  } else if (const auto* named = named_by(where, resources)) {
    error.where = metadata_of(*named).origin.text();
    error.what = fmt::format("{}: {}", label(*named), error.what);
  }
  return error;
}

}  // namespace epif::api
