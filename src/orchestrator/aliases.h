#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/assignment.h"
#include "model/resource.h"

/// The addresses by which programs reach named nodes of other domains. The redirectors map each back to its name, so it says nothing of
/// where a node really is, and private ranges may overlap. The assignments in the store are the only memory. Pure.
namespace epif::orchestrator {

/// The range that a user wishes: an IPv4 block of 4 addresses or more, in which no address has a meaning of its own (loopback,
/// link-local, multicast and such): a redirector must neither capture nor guard these. Errors: usage.
[[nodiscard]] Result<Cidr> parse_alias_range(std::string_view text);

/// So long an address that was a name's rests once its node's redirector does not answer it any more, before it may be another
/// name's at any node: programs keep answers for their lifetime, and some for longer. Until that node's agent has put this in place
/// the rest has no end: its redirector goes on answering, also with what has expired, and not only its own programs.
inline constexpr std::chrono::seconds alias_rest = std::chrono::hours(1);
/// So many of each node are in use or rest, of whatever range. What would be one more is not given there: forgetting one would end its
/// rest.
inline constexpr std::size_t told_aliases_max = 4'096;
/// Of the aliases that have rested, so many of each node are remembered, so as to give others first.
inline constexpr std::size_t rested_aliases_kept = 256;

/// What one node's programs have been told, by its Assignment, or the Removal in its place, of this generation.
struct Told {
  std::uint64_t generation = 0;
  std::vector<ToldAlias> aliases;
  std::optional<Role> role{};  ///< none: it was removed, or another version wrote the Assignment
};
using ToldAliases = std::map<std::string, Told>;  ///< by node

/// Adds what a node's assignment holds. Where `in_place`, the generation that its agent reports, has no route to an alias any
/// more, alias_rest begins: not at a proxy, whose agent says nothing of a redirector that it once ran.
void note_aliases(const Assignment& assignment, std::uint64_t generation, std::uint64_t in_place, std::chrono::sys_seconds now,
                  const std::optional<Cidr>& range, ToldAliases& told);
/// The same where nothing is known but what was told, as of a node that was removed: its machine runs on, and may be added again.
void note_aliases(const std::string& node, std::vector<ToldAlias> aliases, std::uint64_t generation, ToldAliases& told);

/// Its node's programs may have it cached, and no route has it: it is to be no other name's at any node.
[[nodiscard]] bool rests(const ToldAlias& told, std::chrono::sys_seconds now);

/// What stands in the node's next Assignment, of this role, or in its Removal: those that its routes have by now (name -> alias), and of
/// `before` those that rest or have rested. Where it becomes an endpoint, what is awaited is so from this Assignment on: a report of
/// before may be a proxy's. Sorted.
[[nodiscard]] std::vector<ToldAlias> told_next(const Told& before, std::optional<Role> role, const std::map<std::string, IpAddress>& in_use,
                                               std::chrono::sys_seconds now);

/// What the node's table refuses: each that rests by itself. Inside of a wider refusal, this makes the redirector stop to answer the name
/// with it (redirect/routes.h), so that the rest has an end. The range is one; where it is another by now, the two addresses around it,
/// of which the other one is so refused as well.
[[nodiscard]] std::vector<Refusal> resting_refusals(const std::vector<ToldAlias>& told, const std::optional<Cidr>& range,
                                                    std::chrono::sys_seconds now);

/// Why no flow may lead to this node by its own addresses: one is of the range, where redirectors take it for a name's. Empty if none is.
[[nodiscard]] std::string alias_clash(const std::string& name, const Node& node, const std::optional<Cidr>& range);

/// What a flow needs: an alias for the hostname, at the client.
struct AliasWish {
  std::string flow;
  std::string client;
  std::string hostname;
};

/// Gives out the addresses of a range: what a program has cached must not mean another node. A name that had one keeps it, or gets it
/// again; a new one gets one by its spelling that nobody is known to have had; where there is none left, the one that has rested longest.
/// Whether a name gets one does not depend on the order of those that ask.
class AliasBook {
 public:
  /// `range`: IPv4. It stays ours wherever machines are, since programs may have been told any of it: the address of a machine of
  /// `resources` is only never given to a name that has none yet.
  AliasBook(const std::optional<Cidr>& range, ToldAliases told, const ResourceSet& resources, std::chrono::sys_seconds now);
  [[nodiscard]] bool has_range() const { return range_.has_value(); }
  /// Several nodes have it, so it means none of them.
  [[nodiscard]] bool is_ambiguous(const std::string& hostname) const;

  /// All of them or none; only with a range, and for no ambiguous name. Errors: limit, where all of the range is in use or rests, the
  /// client has told_aliases_max, or the name's alias rests there as another's; it says until when.
  [[nodiscard]] Result<> take(const std::vector<AliasWish>& wishes);
  /// Whether take() would give them now. Errors: as there.
  [[nodiscard]] Result<> check(const std::vector<AliasWish>& wishes);
  /// Errors: limit, as long as a machine's own address rests at the client as a name's.
  [[nodiscard]] Result<> check_address(const std::string& flow, const std::string& client, const IpAddress& machine) const;
  [[nodiscard]] std::optional<IpAddress> given(const std::string& hostname) const;

 private:
  struct Rest {
    std::set<std::string> names;
    std::set<std::string> awaited;   ///< nodes whose agents are to put its end in place
    std::chrono::sys_seconds end{};  ///< unless one is awaited
  };
  struct Taken {
    std::vector<std::string> names;
    std::vector<std::pair<std::string, std::string>> added;  ///< client, name
  };
  /// It is not another's, and does not rest as another's.
  [[nodiscard]] bool may_have(const AliasWish& wish, const IpAddress& alias) const;
  [[nodiscard]] std::optional<IpAddress> choose(const AliasWish& wish);
  [[nodiscard]] Result<> take(const AliasWish& wish, Taken& taken);
  [[nodiscard]] Result<> take(const std::vector<AliasWish>& wishes, Taken& taken);
  void give_back(const Taken& taken);
  /// The client remembers it already.
  [[nodiscard]] bool knows(const AliasWish& wish, const IpAddress& alias) const;
  [[nodiscard]] Result<> check_room(const AliasWish& wish) const;
  [[nodiscard]] Error used_up(const AliasWish& wish) const;
  /// When an alias of this node is free that waits for its agent.
  [[nodiscard]] std::string after_return(const std::string& node) const;
  [[nodiscard]] std::string free_again(const ToldAlias& told, const std::string& node) const;
  [[nodiscard]] const std::vector<ToldAlias>& told_at(const std::string& client) const;
  /// As which other name it rests at the client; null if as none.
  [[nodiscard]] const ToldAlias* other_at(const AliasWish& wish, const IpAddress& alias) const;
  /// How many names may have: neither the first nor the last, which programs take for a network and its broadcast.
  [[nodiscard]] std::uint64_t size() const { return (std::uint64_t{1} << (32 - range_->prefix)) - 2; }

  std::optional<Cidr> range_;
  ToldAliases told_;
  std::chrono::sys_seconds now_;
  std::map<std::string, IpAddress> given_;
  std::map<std::string, std::set<std::string>> added_;      ///< client -> names that it was not told before
  std::set<IpAddress> taken_;                               ///< by names now, and by machines
  std::map<std::string, std::vector<IpAddress>> earlier_;   ///< name -> what it had
  std::map<IpAddress, Rest> resting_;
  std::map<IpAddress, std::chrono::sys_seconds> rested_;    ///< since when
  std::set<std::string> ambiguous_;
  bool all_known_ = false;                                  ///< no address is left that nobody is known to have had
};

}  // namespace epif::orchestrator
