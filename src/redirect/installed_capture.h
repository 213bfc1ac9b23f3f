#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "net/links.h"
#include "net/policy_route.h"
#include "redirect/capture.h"

namespace epif::redirect {

/// The capture rules in the kernel, kept in step with the wish and with the node's network devices. The rules outlive this
/// object and its process on purpose: only remove() takes them away.
///
/// A destination that was captured once stays captured until remove(), even if the wish no longer names it and even over a
/// crash (a list in the state folder): what lost its route must be refused, not pass straight through.
class InstalledCapture {
 public:
  /// `state_dir`: holds the list of captured destinations; made if absent. Nothing is installed yet.
  InstalledCapture(std::uint16_t listen_port, std::string state_dir);

  /// Reads what an earlier redirector, killed without a word, has left: afterwards rules() have its targets, names, mark and, if
  /// it captured DNS, its port. Once, before the first install(), which does it otherwise. Errors: not_found, invalid_input
  /// (rules are in force and what they stand for cannot be read), those of nftables.
  [[nodiscard]] Result<> recall();

  /// What the rules are to say. The listen port is this object's own.
  using Wish = CaptureRules;
  /// One transaction: from here on the node's traffic follows `wish`, and `wish.targets` and `wish.names` grow by earlier ones. The
  /// routing rule that brings datagrams to the redirector comes before it, and the end of connections that the kernel sent to
  /// an NGINX that is not among `wish.diversions` any more after it. `wish.retired` is this object's own. Errors of all but
  /// the last leave the old rules in force; the last is tried again with each call.
  [[nodiscard]] Result<> install(Wish wish);
  /// After a change of network devices: installs again if the set of devices differs.
  [[nodiscard]] Result<> follow_devices();
  /// True if others had removed a table, or replaced it or, as the caller has seen (`changed`), altered it, and the rules are in force
  /// again; false if there was nothing to do. Errors: those of nftables and of the routing rule; asked for again it tries again.
  [[nodiscard]] Result<bool> restore(bool changed);
  /// Installs the rules once more although they did not change: a successor that went away again may have changed them. What
  /// it captured stays captured.
  [[nodiscard]] Result<> reinstate();
  /// What an earlier redirector left goes on without diversions, and what the kernel carries to NGINX ends; all else stays
  /// captured. Writes no file. Errors: those of recall(), of nftables, of end_undiverted().
  [[nodiscard]] Result<> shut();
  /// Removes rules and list; there or not.
  [[nodiscard]] Result<> remove();

  [[nodiscard]] const CaptureRules& rules() const { return rules_; }
  /// A file of this redirector in the state folder, which install() makes: of this network namespace and port.
  [[nodiscard]] std::string state_file(std::string_view ending) const;
  /// Ports of this network namespace's redirectors of which the folder holds files, whether or not their rules are in force.
  [[nodiscard]] static std::vector<std::uint16_t> remembered(const std::string& state_dir);
  /// True if rules of an earlier redirector were in force before the first install(): a failed start leaves them.
  [[nodiscard]] bool adopted() const { return adopted_; }

 private:
  [[nodiscard]] net::LocalDelivery delivery() const;
  [[nodiscard]] Result<> commit(const CaptureRules& wish);
  [[nodiscard]] Result<> end_old_diversions();
  [[nodiscard]] Result<> remember(const CaptureRules& wish) const;
  [[nodiscard]] Result<> recall_targets();
  [[nodiscard]] Result<> recall_names();

  std::string list_file_;
  std::string names_file_;
  std::string state_dir_;
  CaptureRules rules_;
  std::vector<net::Link> devices_;
  std::vector<std::uint64_t> numbers_;  ///< of the tables that this object has made
  bool changed_ = false;        ///< by others, and not put right yet
  bool undiverted_ = true;      ///< no connection goes to NGINX that the rules do not send there
  bool all_unknown_ = false;    ///< an earlier redirector's diversions are not known
  std::set<std::string> gone_;  ///< names of devices that were there once, up to a limit
  bool recalled_ = false;
  bool installed_ = false;
  bool adopted_ = false;
};

}  // namespace epif::redirect
