#include "bridge/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "bridge/chain_state.h"

namespace epif::bridge {
namespace {

constexpr std::string_view words(DataDirection data) {
  switch (data) {
    case DataDirection::push: return "push";
    case DataDirection::pull: return "pull";
    case DataDirection::both: return "both";
  }
  return "both";
}

Result<Open> open_for(const ChainLink& link, std::size_t position, std::size_t length, const FlowHeader& header,
                      const PairKeys& keys) {
  Open open;
  open.flow = header.flow;
  open.position = static_cast<std::uint32_t>(position);
  open.length = static_cast<std::uint32_t>(length);
  open.source = header.source;
  open.destination = header.destination;
  open.data = std::string(words(header.data));
  open.purpose = header.purpose;
  open.parameters = link.parameters;
  open.metadata = header.metadata;
  if (link.key_pair.empty()) return open;
  const auto key = keys.find(link.key_pair);
  if (key == keys.end())
    return fail(Code::invalid_input, "there is no key for a half of a pair", link.instance, "pair " + link.key_pair,
                "both proxies need public keys in their routes");
  const auto bytes = key->second.bytes();
  open.key.assign(bytes.begin(), bytes.end());
  return open;
}

}  // namespace

ControlPool::ControlPool(net::Loop& loop) : loop_(loop) {}

ControlPool::~ControlPool() {
  for (const auto& [path, control] : controls_) control->fail({Code::bf_failed, "the proxy ends"});
}

std::size_t ControlPool::connected() const {
  return static_cast<std::size_t>(
      std::count_if(controls_.begin(), controls_.end(), [](const auto& entry) { return entry.second->alive(); }));
}

net::Task<Result<std::shared_ptr<Control>>> ControlPool::reach(const ChainLink& link, bool lent) {
  // The process is part of the key: a replaced container is another BF, even behind the same path.
  const auto key = fmt::format("{}\n{}\n{}", lent ? "lent" : "pumped", link.peer_pid, link.socket);
  std::erase_if(controls_, [](const auto& entry) { return !entry.second->alive(); });
  if (const auto found = controls_.find(key); found != controls_.end()) co_return found->second;
  auto control = Control::connect(loop_, link);
  if (control) controls_[key] = *control;
  co_return control;
}

net::Task<Result<>> ControlPool::warm(ChainLink link, net::TimePoint) {
  auto control = co_await reach(link, link.trusted);
  if (!control) co_return fail(control.error());
  co_return Result<>{};
}

net::Task<Result<std::unique_ptr<Chain>>> Chain::open(ControlPool& pool, std::span<const ChainLink> links, FlowHeader header,
                                                      const PairKeys& keys, bool clear) {
  assert(!links.empty() && links.size() <= limits::chain_max_functions);
  std::unique_ptr<Chain> chain(new Chain(std::make_unique<State>(pool.loop())));
  auto& state = *chain->state_;
  state.header = std::move(header);
  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::bf_accept_deadline_ms);
  const bool lent = clear && links.front().trusted && links.back().trusted;
  for (std::size_t i = 0; i < links.size(); ++i) {
    auto control = co_await pool.reach(links[i], lent);
    if (!control) co_return fail(control.error());
    auto open = open_for(links[i], i, links.size(), state.header, keys);
    if (!open) co_return fail(open.error());
    state.links.push_back(std::make_unique<Link>(state, links[i]));
    auto& link = *state.links.back();
    link.open(std::move(*control), std::move(*open));
    while (!link.answered() && !state.failure && net::Clock::now() < deadline) co_await state.opened.until(deadline);
    if (state.failure) co_return fail(*state.failure);
    if (link.denial()) co_return fail(Code::bf_denied, "bridging function denied the connection", links[i].instance, *link.denial());
    if (!link.answered())
      co_return fail(Code::bf_failed, "bridging function did not answer in time", links[i].instance,
                     fmt::format("waited {} ms", limits::bf_accept_deadline_ms));
    for (const auto& [name, value] : link.metadata()) state.header.metadata[name] = value;
    if (state.header.metadata.size() > limits::bf_map_entries)
      co_return fail(Code::bf_failed, "bridging function writes too much metadata", links[i].instance);
  }
  co_return chain;
}

Chain::Chain(std::unique_ptr<State> state) : state_(std::move(state)) {}

Chain::~Chain() {
  for (const auto& link : state_->links) {
    link->cut("the connection is over");
    link->forget();
  }
}

void Chain::cut(Error why) { state_->fail(std::move(why)); }
const std::optional<Error>& Chain::failure() const { return state_->failure; }
std::uint64_t Chain::from_client() const { return state_->bytes_from_client(); }
std::uint64_t Chain::from_server() const { return state_->bytes_from_server(); }
bool Chain::may_leave() const { return state_->may_leave(); }
const std::map<std::string, std::string>& Chain::metadata() const { return state_->header.metadata; }

}  // namespace epif::bridge
