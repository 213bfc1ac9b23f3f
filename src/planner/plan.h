#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/resource.h"

/// The planner: from resources to areas, channels and, for each flow and data direction, a verdict with its reason
/// (interface.md "Planner definitions"; article Eq. 1 to 9). Pure: equal input gives an equal plan; no I/O, no clock.
namespace epif::planner {

/// One direction of one flow, as policies are asked about it.
struct PolicyQuery {
  const Application& application;
  const Flow& flow;
  DataDirection direction;  ///< push or pull
  const Node& source;       ///< where the data is
  const Node& destination;  ///< where it goes
};

struct PolicyDecision {
  bool permitted = false;
  std::vector<std::string> policies;  ///< ids that decided, sorted: the permitting ones, or what forbade
  std::string reason;                 ///< for people; names what is lacking where nothing permitted
  AttributeSet requires_attributes;   ///< what the permitting policies demand of the way
};

/// Asks the policy engine. An error ends the planning.
using PolicyEngine = std::function<Result<PolicyDecision>(const PolicyQuery&)>;

/// How a gap is computed. `complement` is A_source minus A_destination; `printed` is Eq. 5 as printed, which is the gap of
/// the other direction and lets data into weaker areas: for comparison only.
enum class GapRule { complement, printed };

/// `NODE+=ATTR` or `NODE-=ATTR`: plan as if the node had, or lacked, the attribute.
struct WhatIf {
  std::string node;  ///< "domain/node"
  std::string attribute;
  bool add = true;

  [[nodiscard]] static Result<WhatIf> parse(std::string_view text);
};

struct PlanOptions {
  PolicyEngine policy;  ///< empty only if the input holds no Policy
  std::vector<WhatIf> what_if;
  GapRule gap = GapRule::complement;
};

/// Nodes with equal attributes.
struct Area {
  AttributeSet attributes;
  std::vector<std::string> nodes;  ///< "domain/node", sorted
};

/// Data may move from area `from` to area `to` without any function (Eq. 4); indexes into Plan::areas, from != to.
struct Channel {
  std::size_t from = 0;
  std::size_t to = 0;
};

enum class Verdict { supported, bridged, unfeasible, denied };
[[nodiscard]] std::string_view name(Verdict verdict);

/// A bridging function and the proxy that holds it.
struct PlacedFunction {
  std::string function;
  std::string proxy;  ///< "domain/proxy"
  friend bool operator==(const PlacedFunction&, const PlacedFunction&) = default;
};

/// What is decided for one flow in one direction of its data.
struct DirectionPlan {
  std::string application;
  std::string flow;
  std::string from;  ///< client and server of the connection, "domain/node", whatever the direction
  std::string to;
  DataDirection direction = DataDirection::push;  ///< push or pull
  Verdict verdict = Verdict::denied;
  AttributeSet gap;
  AttributeSet missing;               ///< what no placeable function provides; unfeasible only
  std::vector<PlacedFunction> chain;  ///< from the client's end
  std::vector<std::string> proxies;   ///< the path, client's end first
  Method method = Method::automatic;  ///< automatic where nothing is carried (unfeasible, denied)
  std::vector<std::string> policies;  ///< ids that decided; empty without policies
  std::string reason;                 ///< one or more plain sentences
  double predicted_setup_ms = 0;      ///< Eq. 6 to 9, without the times of server, proxy and functions
  double floor_ms = 0;                ///< RTT_CP + RTT_PS, the least any proxy can reach
};

/// What to install for one flow's connection: the chain for all its carried directions together.
struct Install {
  std::string application;
  std::string flow;
  std::string purpose;
  std::string from;  ///< client node
  std::string to;    ///< server node
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  DataDirection data = DataDirection::both;
  Selector selector;
  bool feasible = false;              ///< every carried direction is supported or bridged, and there is no conflict
  std::vector<PlacedFunction> chain;  ///< from the client's end; empty if not feasible
  std::vector<std::string> proxies;   ///< the path, client's end first; each function's proxy is among them
  Method method = Method::automatic;
  std::vector<std::string> policies;  ///< ids that decided, of all directions
  std::string reason;                 ///< why it is not feasible; else why this method
  double predicted_setup_ms = 0;
};

/// Two flows that the network cannot tell apart and that want different things. Neither is installed.
struct Conflict {
  std::string first;  ///< "application/flow"
  std::string second;
  std::string reason;
};

struct Plan {
  std::vector<Area> areas;           ///< ordered by attributes
  std::vector<Channel> channels;     ///< ordered by from, to; empty with more areas than limits::plan_channel_areas
  std::vector<DirectionPlan> flows;  ///< by application, then as written; push before pull
  std::vector<Install> installs;     ///< one a flow, same order
  std::vector<Conflict> conflicts;
  double unfeasibility_ratio = 0;     ///< unfeasible / (bridged + unfeasible) over directions; 0 if none
  std::vector<std::string> warnings;  ///< no Policy in the input, the printed gap, a Domain without a Node, an attribute that looks misspelt

  /// Whether every flow can be installed.
  [[nodiscard]] bool all_possible() const;
};

/// Errors: what ResourceSet::check() finds; an attribute that only a policy or a what-if names; a what-if about an unknown
/// node; a cycle of order constraints (Code::cycle, named); more than limits::plan_functions functions; policies in the
/// input without `options.policy`; an error of the policy engine.
[[nodiscard]] Result<Plan> plan(const ResourceSet& resources, const PlanOptions& options);

/// Eq. 2 and 3: the areas of these nodes, ordered by attributes.
[[nodiscard]] std::vector<Area> areas(const ResourceSet& resources);

/// The plan as text. JSON is the stable shape of docs/plan.md; dot draws areas, channels and flows with Graphviz.
[[nodiscard]] std::string print_json(const Plan& plan);
[[nodiscard]] std::string print_text(const Plan& plan);
[[nodiscard]] std::string print_dot(const Plan& plan);

}  // namespace epif::planner
