#include "agent/assigned.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace epif::agent {

void Assigned::restore(SavedAssignment saved) {
  wanted_ = std::move(saved.assignment);
  generation_ = saved.generation;
  version_ = saved.version;
  store_ = std::move(saved.store);
  informed_ = true;
}

void Assigned::restore_removed() { informed_ = removed_ = true; }

bool Assigned::say(std::string trouble) {
  if (trouble_ == trouble) return false;
  trouble_ = std::move(trouble);
  return true;
}

bool Assigned::listed(const store::Listing& all) {
  heard_ = all.store;
  if (std::exchange(other_store_, false) && heard_ != store_) store_.clear();
  foreign_ = wanted_ && !store_.empty() && heard_ != store_;
  if (foreign_) {
    return say(fmt::format("the orchestrator has another store ({}) than the one that assigned what runs here ({}); it goes on; "
                           "give the orchestrator its store back, or join this host again with --rejoin",
                           heard_.empty() ? "without identity" : heard_, store_));
  }
  const auto mine = std::ranges::find(all.records, node_, &store::Record::name);
  const auto removal = mine == all.records.end() ? std::nullopt : parse_removal(mine->spec);
  if (mine != all.records.end() && !removal) return take(*mine);
  if (removal && is_proof(*removal)) return withdraw();
  if (wanted_) return unknown();
  const bool news = !informed_ || !trouble_.empty();
  informed_ = true;
  trouble_.clear();
  return news;
}

bool Assigned::unknown() {
  return say("the orchestrator does not know " + node_ + " and says nothing of a removal; what was assigned goes on; "
             "apply the node again, or, if it was removed, stop the agent here (or `epif agent --cleanup`)");
}

bool Assigned::changed(const store::Event& event) {
  if (foreign_ || event.record.name != node_) return false;
  const auto removal = parse_removal(event.record.spec);
  if (!removal) return event.type == store::Event::Type::removed ? withdraw() : take(event.record);
  // An old note comes again with every report that this agent writes beside it, and once more when its time is over.
  if (is_proof(*removal)) return withdraw();
  return wanted_ && unknown();
}

bool Assigned::withdraw() {
  const bool news = !informed_ || wanted_ || !removed_ || !trouble_.empty();
  wanted_.reset();
  removed_ = true;
  generation_ = 0;
  version_ = 0;
  store_ = heard_;
  informed_ = true;
  trouble_.clear();
  return news;
}

/// The note of a store that was put back to before this node was added again says nothing about what came after. Where nothing
/// is known of what was assigned, nobody can tell.
bool Assigned::is_proof(const Removal& removal) const { return wanted_ && store_ == heard_ && removal.revision >= version_; }

bool Assigned::take(const store::Record& record) {
  auto assignment = parse_assignment(record.spec);
  if (!assignment) return refuse(record, assignment.error().text());
  const bool same = wanted_ == *assignment && generation_ == record.generation && store_ == heard_;
  const bool news = !informed_ || !same || !trouble_.empty();
  // Every report beside it raises the record's version; the note of a removal may be written from what was read before that.
  if (!same || version_ == 0 || record.version < version_) version_ = record.version;
  wanted_ = std::move(*assignment);
  removed_ = false;
  generation_ = record.generation;
  store_ = heard_;
  informed_ = true;
  trouble_.clear();
  return news;
}

/// The change may be a revocation. To guess which routes it spares would be to parse what cannot be parsed, so none is
/// spared; they are blocked rather than removed, so that users, logs and `epif trace` get the reason, and the redirector
/// goes on to capture.
bool Assigned::refuse(const store::Record& record, const std::string& why) {
  const auto text = fmt::format("assignment {} of {} cannot be read: {}", record.generation, node_, why);
  bool news = say(text);
  if (!wanted_ || (store_ == heard_ && generation_ == record.generation)) return news;
  for (auto& route : wanted_->routes.routes) {
    if (!route.blocked.empty()) continue;
    route.blocked = text;
    news = true;
  }
  return news;
}

}  // namespace epif::agent
