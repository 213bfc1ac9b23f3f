#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "agent/table.h"
#include "model/assignment.h"
#include "store/store.h"

namespace epif::agent {

/// An Assignment and where it came from.
struct SavedAssignment {
  Assignment assignment;
  std::uint64_t generation = 0;  ///< of its resource
  store::Revision version = 0;   ///< of that resource when this generation was first heard; 0: not known
  std::string store{};           ///< identity of the orchestrator's store (api/store_identity.h)
  std::vector<KnownInstance> running{};  ///< what ran when it was saved
};

/// What one node's orchestrator said last, and what of it counts. Not thread-safe; no I/O.
///
/// Silence and ignorance take nothing away: rules and routes stay until an orchestrator that knows the node says otherwise.
///   another store (it was lost, or is another site's)   what was assigned stays, trouble() says so, until the host joins again
///   the same store, without the node                    the same, unless it assigns something to this node
///   a new assignment that cannot be read                something changed and nobody knows what: every route is blocked
///   the node was removed, after what was assigned        no assignment
///   a removal of before what was assigned: a backup      as without the node
/// That a store does not have the node proves no removal: a backup keeps the identity of its store, and its revisions climb past
/// every number that the agent could remember. Only the event of the removal counts, or the Removal that stands in the node's
/// place for an agent that was away; its revision was written once and does not climb.
class Assigned {
 public:
  explicit Assigned(std::string node) : node_(std::move(node)) {}

  /// A store other than the one that assigned may speak, once: `--rejoin`. Before anything is heard.
  void allow_other_store() { other_store_ = true; }
  /// What the last run of the agent saved; before anything is heard.
  void restore(SavedAssignment saved);
  /// The last run heard that the node was removed, and did not come to the end of it.
  void restore_removed();
  /// Both return whether anything changed: the assignment, where it comes from, or trouble().
  [[nodiscard]] bool listed(const store::Listing& all);
  [[nodiscard]] bool changed(const store::Event& event);

  [[nodiscard]] bool informed() const { return informed_; }  ///< something was restored or heard
  [[nodiscard]] const std::optional<Assignment>& wanted() const { return wanted_; }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] store::Revision version() const { return version_; }
  [[nodiscard]] const std::string& store() const { return store_; }
  [[nodiscard]] bool removed() const { return removed_; }  ///< the node was, as an event said; wanted() is empty
  [[nodiscard]] bool foreign() const { return foreign_; }            ///< wanted() is of another store than the one that is heard
  [[nodiscard]] const std::string& trouble() const { return trouble_; }  ///< for people; empty: none

 private:
  bool take(const store::Record& record);
  [[nodiscard]] bool is_proof(const Removal& removal) const;
  bool unknown();
  bool withdraw();
  bool refuse(const store::Record& record, const std::string& why);
  bool say(std::string trouble);

  std::string node_;
  std::optional<Assignment> wanted_;
  std::uint64_t generation_ = 0;
  store::Revision version_ = 0;
  std::string store_;
  std::string heard_;  ///< the store that is listened to
  bool informed_ = false;
  bool removed_ = false;
  bool other_store_ = false;
  bool foreign_ = false;
  std::string trouble_;
};

}  // namespace epif::agent
