#include "bridge/chain_move.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cassert>
#include <unordered_map>

#include "bridge/chain_state.h"

namespace epif::bridge {
namespace {

bool there(const Fd& fd) { return static_cast<bool>(fd); }

bool all_there(const MovedChain& chain) {
  const auto keeps = [](const MovedLink& link) { return !link.may_release || std::ranges::all_of(link.kept, there); };
  return std::ranges::all_of(chain.joints, there) && std::ranges::all_of(chain.links, keeps);
}

}  // namespace

bool Chain::State::may_leave() const {
  if (!lent || failure || left || splices > 0) return false;
  return std::ranges::all_of(links, [](const auto& link) { return link->heard() && !link->released() && !link->reported(); });
}

MovedChain Chain::State::leave(const std::unordered_map<const Control*, std::size_t>& positions) {
  static_cast<void>(bytes_from_client()), static_cast<void>(bytes_from_server());
  MovedChain made;
  for (const auto& link : links) {
    auto moved = link->moved();
    moved.control = positions.at(link->control().get());
    made.links.push_back(std::move(moved));
  }
  made.joints = std::move(joints);
  made.early = {from_client.bytes, from_server.bytes};
  made.read = {kernel_base_client, kernel_base_server};
  made.written = written;
  made.passed = passed;
  made.limits = limits;
  left = true;
  watch.cancel();
  for (const auto& link : links) link->forget();
  wake();
  return made;
}

MovedLink Link::moved() {
  MovedLink made;
  made.conn = conn_;
  made.may_release = may_release_;
  made.ended = ended_;
  made.kept = std::move(kept);
  return made;
}

void Link::take_up(std::shared_ptr<Control> control, MovedLink moved) {
  control_ = std::move(control);
  conn_ = moved.conn;
  control_->take_up(conn_, *this);
  accepted_ = started_ = true;
  may_release_ = moved.may_release;
  ended_ = moved.ended;
  kept = std::move(moved.kept);
}

std::optional<MovedControl> Control::copy_to_move() const {
  MovedControl made{instance_, next_conn_, received_, Fd(::fcntl(socket_->fd(), F_DUPFD_CLOEXEC, 0))};
  if (!made.socket) return std::nullopt;
  return made;
}

void Control::leave() {
  assert(listeners_.empty() && may_leave());
  failure_ = Error{Code::internal, "the control connection is another process's now", instance_};
  socket_->abort(*failure_);  // only here: the socket itself lives on
}

std::shared_ptr<Control> Control::arrived(net::Loop& loop, MovedControl moved) {
  auto socket = std::make_unique<net::SeqPacket>(loop, std::move(moved.socket));
  std::shared_ptr<Control> control(new Control(loop, std::move(socket), std::move(moved.instance)));
  control->next_conn_ = moved.next_conn;
  control->received_ = moved.received;
  control->ends_with_last_ = true;
  return control;
}

void Control::hear() {
  if (listeners_.empty()) return fail({Code::internal, "none of its connections go on", instance_});
  net::spawn(receive(shared_from_this()));
}

Departure depart(ControlPool& pool, std::span<Chain* const> running) {
  std::vector<std::size_t> leaving;  // positions in `running`
  for (std::size_t i = 0; i < running.size(); ++i) {
    if (running[i]->state().may_leave()) leaving.push_back(i);
  }
  std::unordered_map<const Control*, std::size_t> carried;  // links of `leaving` on each control connection
  for (const auto at : leaving)
    for (const auto& link : running[at]->state().links) ++carried[link->control().get()];
  const auto stays = [&](std::size_t at) {
    return std::ranges::any_of(running[at]->state().links, [&](const auto& link) {
      const auto& control = *link->control();
      return !control.may_leave() || control.connections() != carried.at(&control);
    });
  };
  // One that stays keeps its control connections here, and so others that share them.
  for (auto stay = std::ranges::find_if(leaving, stays); stay != leaving.end(); stay = std::ranges::find_if(leaving, stays)) {
    for (const auto& link : running[*stay]->state().links) --carried.at(link->control().get());
    leaving.erase(stay);
  }

  Departure made;
  std::vector<std::shared_ptr<Control>> controls;
  std::unordered_map<const Control*, std::size_t> positions;
  for (const auto at : leaving) {
    for (const auto& link : running[at]->state().links) {
      if (!positions.emplace(link->control().get(), controls.size()).second) continue;
      auto moved = link->control()->copy_to_move();
      if (!moved) return {};
      made.controls.push_back(std::move(*moved));
      controls.push_back(link->control());
    }
  }
  for (const auto& control : controls) control->outlive_connections();
  for (const auto at : leaving) made.chains.emplace_back(at, running[at]->state().leave(positions));
  for (const auto& control : controls) control->leave();
  // A function must see the end of whoever has its control connection now, and of nobody else.
  std::erase_if(pool.controls_, [](const auto& entry) { return !entry.second->alive(); });
  return made;
}

Arrival::Arrival(ControlPool& pool, std::vector<MovedControl> controls) : pool_(pool) {
  for (auto& control : controls) {
    controls_.push_back(Control::arrived(pool.loop(), std::move(control)));
    pool.controls_[fmt::format("arrived\n{}", ++pool.arrived_)] = controls_.back();
  }
}

Arrival::~Arrival() = default;

Result<std::unique_ptr<Chain>> Arrival::chain(std::span<const ChainLink> links, FlowHeader header, MovedChain moved) {
  const auto fits = [&](const MovedLink& link) { return link.control < controls_.size() && controls_[link.control]->expects(link.conn); };
  if (links.size() != moved.links.size() || !all_there(moved) || !std::ranges::all_of(moved.links, fits))
    return fail(Code::protocol, "a chain arrived that does not fit its route", header.flow);
  std::unique_ptr<Chain> made(new Chain(std::make_unique<Chain::State>(pool_.loop())));
  auto& state = made->state();
  state.header = std::move(header);
  for (std::size_t i = 0; i < links.size(); ++i) {
    auto& link = state.links.emplace_back(std::make_unique<Link>(state, links[i]));
    auto& control = controls_[moved.links[i].control];
    link->take_up(control, std::move(moved.links[i]));
  }
  state.joints = std::move(moved.joints);
  state.direct_client = state.direct_server = true;
  state.from_client.bytes = moved.early[0];
  state.from_server.bytes = moved.early[1];
  state.kernel_base_client = moved.read[0];
  state.kernel_base_server = moved.read[1];
  state.written = moved.written;
  state.passed = moved.passed;
  state.limits = moved.limits;
  return made;
}

void Arrival::hear() {
  for (const auto& control : controls_) control->hear();
}

}  // namespace epif::bridge
