#include "store/change.h"

#include <fmt/format.h>

#include <cassert>

#include "base/limits.h"

namespace epif::store {
namespace {

std::string label(const Write& write) { return write.kind + " " + write.name; }

Result<> check_expected(const Write& write, const std::optional<Record>& current) {
  if (!write.expected) return {};
  const Revision now = current ? current->version : 0;
  if (*write.expected == now) return {};
  if (*write.expected == 0) {
    return fail(Code::conflict, "exists already", label(write), fmt::format("its version is {}", now), "update it instead");
  }
  return fail(Code::conflict, "was changed by someone else", label(write),
              fmt::format("the write is based on version {}, but {}", *write.expected,
                          current ? fmt::format("the stored version is {}", now) : "it does not exist"),
              "read it again and repeat the change");
}

Result<> check_size(const Write& write) {
  const auto size = std::max(write.metadata.size(), write.body.size());
  if (size <= limits::resource_max_bytes) return {};
  return fail(Code::limit, "too large to store", label(write),
              fmt::format("{} bytes, at most {}", size, limits::resource_max_bytes), "split it");
}

std::optional<Event> put(const Write& write, const std::optional<Record>& current, Revision next) {
  if (current && current->metadata == write.metadata && current->spec == write.body) return std::nullopt;
  Record record{.kind = write.kind, .name = write.name, .metadata = write.metadata, .spec = write.body, .status = {}};
  if (current) record.status = current->status;
  record.generation = current ? current->generation + 1 : 1;
  record.version = next;
  return Event{Event::Type::put, next, std::move(record)};
}

}  // namespace

Result<std::optional<Event>> change(const Write& write, const std::optional<Record>& current, Revision next) {
  assert(!write.kind.empty() && !write.name.empty());
  assert(!current || current->version < next);
  if (auto fits = check_size(write); !fits) return fail(fits.error());
  if (auto fresh = check_expected(write, current); !fresh) return fail(fresh.error());
  if (write.type == Write::Type::put) return put(write, current, next);
  if (!current) return fail(Code::not_found, "does not exist", label(write));
  if (write.type == Write::Type::remove) return Event{Event::Type::removed, next, *current};
  if (current->status == write.body) return std::optional<Event>{};
  Record record = *current;
  record.status = write.body;
  record.version = next;
  return Event{Event::Type::put, next, std::move(record)};
}

Error too_old(Revision after, Revision compacted) {
  return {Code::expired, "that history is no longer kept", fmt::format("revision {}", after),
          fmt::format("events up to revision {} were compacted", compacted), "list again and watch from the listing's revision"};
}

}  // namespace epif::store
