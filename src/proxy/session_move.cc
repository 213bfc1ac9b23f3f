// Flows in the hands of bridging functions, from one process to the next: a worker's two ends of it, and the session's beginning there.
#include "base/log.h"
#include "proxy/session.h"

namespace epif::proxy {
namespace {

using std::chrono::milliseconds;

std::chrono::sys_seconds wall_clock() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

}  // namespace

void Worker::leave_soon() {
  if (!give_ || std::exchange(leaving_, true)) return;
  // By then those whose functions have just got their sockets run, and those that are over are gone.
  loop_.post([this] {
    leaving_ = false;
    leave();
  });
}

void Worker::leave() {
  std::vector<const Flow*> flows;
  std::vector<bridge::Chain*> running;
  for (const auto* flow : flows_) {
    if (flow->chain == nullptr || flow->cut_reason) continue;
    flows.push_back(flow);
    running.push_back(flow->chain);
  }
  auto departure = bridge::depart(controls_, running);
  if (departure.chains.empty()) return;
  const auto leaving = std::make_shared<Leaving>();
  leaving->give = give_;
  auto& moved = leaving->moved;
  moved.controls = std::move(departure.controls);
  for (auto& [at, parts] : departure.chains) {
    const auto* flow = flows[at];
    MovedFlow one{*flow->route, flow->peer, flow->identity, flow->target, flow->wish, 0, std::move(parts)};
    one.age_ms = static_cast<std::uint64_t>(std::chrono::duration_cast<milliseconds>(loop_.now() - flow->since).count());
    left_[flow] = {leaving, moved.flows.size()};
    moved.flows.push_back(std::move(one));
  }
  leaving->missing = moved.flows.size();
  counters_.moved_out += moved.flows.size();
  log::info("proxy", "flows of bridging functions go on in the new process", {{"flows", std::to_string(moved.flows.size())}});
}

void Worker::let_go(const Flow& flow, Parting parting) {
  const auto [leaving, number] = std::move(left_.extract(&flow).mapped());
  auto& moved = leaving->moved.flows[number];
  moved.chain.peers = {std::move(parting.client), std::move(parting.server)};
  moved.place = std::move(parting.place);
  moved.route_place = std::move(parting.route_place);
  if (--leaving->missing == 0) leaving->give(std::move(leaving->moved));
}

void Worker::take(MovedFlows moved) {
  counters_.moved_in += moved.flows.size();
  log::info("proxy", "flows of bridging functions came from the old process", {{"flows", std::to_string(moved.flows.size())}});
  bridge::Arrival arrival(controls_, std::move(moved.controls));
  for (auto& flow : moved.flows) {
    net::spawn([](Worker& self, MovedFlow one, bridge::Arrival& by) -> net::Task<void> {
      Session session(self, one.peer, std::move(one.place));
      co_await session.go_on(std::move(one), by);
    }(*this, std::move(flow), arrival));
  }
  arrival.hear();
}

void Worker::cut_staying(const Error& why) {
  const std::vector<Flow*> before(flows_.begin(), flows_.end());
  for (auto* flow : before) {
    if (flows_.contains(flow) && (!give_ || flow->chain == nullptr || !flow->chain->may_leave())) flow->cut(why);
  }
  leave_soon();
}

net::Task<void> Worker::Session::go_on(MovedFlow moved, bridge::Arrival& arrival) {
  flow_.identity = std::move(moved.identity);
  flow_.target = std::move(moved.target);
  flow_.wish = std::move(moved.wish);
  flow_.since = net::Clock::now() - milliseconds(moved.age_ms);
  flow_.stage = Flow::Stage::open;
  const auto now = wall_clock();
  const Asker asker{flow_.identity, flow_.peer.ip, {}};
  auto granted = flow_.wish ? worker_.routing_->successor(moved.route, asker, *flow_.wish, now) : worker_.routing_->successor(moved.route, now);
  const auto counted_as = moved.route.id;
  flow_.route = granted ? granted : std::make_shared<const Route>(std::move(moved.route));
  route_place_ = std::move(moved.route_place);
  if (flow_.route->id != counted_as) {
    auto place = worker_.shared_.limiter.enter_route(flow_.route->id, 0);
    if (place) route_place_ = std::move(*place);
  }

  client_ = std::make_unique<net::SocketStream>(worker_.loop_, std::move(moved.chain.peers[0]), true);
  upstream_.stream = std::make_unique<net::SocketStream>(worker_.loop_, std::move(moved.chain.peers[1]), true);
  flow_.client = client_.get();
  flow_.upstream = upstream_.stream.get();
  const auto& route = *flow_.route;
  auto chain = arrival.chain(route.chain, {route.id, source(), flow_.target.text(), route.data, route.purpose}, std::move(moved.chain));
  if (!chain) {
    flow_.cut(chain.error());
    ended(fail(std::move(chain.error())));
    co_return;
  }
  chain_ = std::move(*chain);
  flow_.chain = chain_.get();
  if (!granted) flow_.cut({Code::revoked, "the flow lost its route", route.id, {}, "see the route's policy"});
  worker_.follow_expiry(flow_);
  auto outcome = co_await carry_through_chain(true);
  if (outcome) ended(*outcome);
}

}  // namespace epif::proxy
