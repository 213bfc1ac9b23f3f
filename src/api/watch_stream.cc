#include <boost/json.hpp>

#include "api/access.h"
#include "api/endpoints.h"
#include "base/limits.h"

namespace epif::api {
namespace {

/// One reader's place in the history of one kind.
struct Cursor {
  store::Store& store;
  const Kind& kind;
  Caller caller;
  std::string name;
  store::Revision since;

  Result<std::vector<ServerEvent>> next();
};

Result<std::vector<ServerEvent>> Cursor::next() {
  const auto last = store.revision();
  auto events = store.events(kind.name, since, limits::api_watch_batch);
  if (!events) return fail(std::move(events.error()));
  std::vector<ServerEvent> out;
  for (const auto& event : *events) {
    since = event.revision;
    const bool wanted = name.empty() || event.record.name == name;
    if (!wanted || !may_read(caller, kind, event.record.name)) continue;
    const bool removed = event.type == store::Event::Type::removed;
    out.push_back({removed ? "removed" : "put", std::to_string(event.revision), print_record(event.record)});
  }
  const bool all_read = events->size() < limits::api_watch_batch;
  // `last` was read before the events, so nothing of this kind lies between.
  if (all_read && last > since) since = last;
  // Tells a reader whose kind is quiet how far history went, so that it need not list again after compaction.
  if (out.empty() && !events->empty()) out.push_back({"bookmark", std::to_string(since), "{}"});
  return out;
}

}  // namespace

EventStream watch_stream(store::Store& store, const Kind& kind, const Caller& caller, std::string name, store::Revision since) {
  auto cursor = std::make_shared<Cursor>(Cursor{store, kind, caller, std::move(name), since});
  return {.next = [cursor] { return cursor->next(); },
          .subscribe = [&store](std::function<void()> wake) { return store.subscribe(std::move(wake)); }};
}

}  // namespace epif::api
