#include "admission/client_sessions.h"

#include <sys/random.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "net/limiter.h"

namespace epif::admission {
namespace {

/// From the kernel: an id is a bearer's credential.
void fill_random(MutableByteSpan into) {
  [[maybe_unused]] const auto got = ::getrandom(into.data(), into.size(), 0);
  assert(got == static_cast<ssize_t>(into.size()) && "up to 256 bytes never come short");
}

/// Whose sessions are counted together.
SessionOwner counted_as(const SessionOwner& owner) { return {owner.identity, owner.user, net::source_of(owner.source)}; }

}  // namespace

ClientSession::Tokens ClientSession::use_tokens(std::optional<std::uint32_t> wanted_size, std::optional<std::uint32_t> token) {
  const std::lock_guard lock(mutex_);
  if (moved_) return {.window = {}, .accepted = {}, .moved = token.has_value()};
  if (!window_ && wanted_size && *wanted_size > 0) {
    std::array<std::uint8_t, 4> base{};
    fill_random(base);
    window_.emplace(load_u32(base.data()), std::min(*wanted_size, limits::token_window_max));
  }
  Tokens made;
  if (token) made.accepted = window_ && window_->spend(*token);
  if (window_) made.window = socks6::IdempotenceWindow{window_->base(), window_->size()};
  return made;
}

std::optional<TokenWindow> ClientSession::give_window() {
  const std::lock_guard lock(mutex_);
  moved_ = true;
  return std::exchange(window_, std::nullopt);
}

void ClientSession::add_listener(std::shared_ptr<const SharedListener> listener) {
  const std::lock_guard lock(mutex_);
  listeners_.push_back(std::move(listener));
}

void ClientSession::remove_listener(const SharedListener& listener) {
  const std::lock_guard lock(mutex_);
  std::erase_if(listeners_, [&](const auto& one) { return one.get() == &listener; });
}

std::shared_ptr<const SharedListener> ClientSession::listener_at(const SocketAddress& bound) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(listeners_, [&](const auto& one) { return one->bound == bound; });
  return found == listeners_.end() ? nullptr : *found;
}

std::size_t ClientSessions::Hash::operator()(const ClientSession::Id& id) const {
  std::size_t part = 0;  // the id is random already
  std::memcpy(&part, id.data(), sizeof part);
  return part;
}

bool ClientSessions::over(const Entry& entry, net::TimePoint now) const {
  return now - entry.used >= limits_.idle || now - entry.since >= limits_.life;
}

void ClientSessions::erase(Entries::iterator entry) {
  const auto owner = owners_.find(counted_as(entry->second.session->owner()));
  assert(owner != owners_.end() && owner->second > 0);
  if (--owner->second == 0) owners_.erase(owner);
  entries_.erase(entry);
}

void ClientSessions::sweep(net::TimePoint now) {
  if (now - swept_ < std::chrono::milliseconds(limits::session_sweep_ms)) return;
  swept_ = now;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if (over(entry->second, now)) erase(entry);
    entry = next;
  }
}

std::shared_ptr<ClientSession> ClientSessions::open(const SessionOwner& owner, net::TimePoint now) {
  const std::lock_guard lock(mutex_);
  sweep(now);
  const auto counted = counted_as(owner);
  const auto mine = owners_.find(counted);
  if (given_ || entries_.size() >= limits_.total || (mine != owners_.end() && mine->second >= limits_.per_owner)) {
    ++counted_.refused;
    return nullptr;
  }
  ClientSession::Id id{};
  fill_random(id);
  auto session = std::make_shared<ClientSession>(id, owner);
  [[maybe_unused]] const auto [at, added] = entries_.emplace(id, Entry{session, now, now});
  assert(added);
  ++owners_[counted];
  ++counted_.opened;
  return session;
}

ClientSessions::Entries::iterator ClientSessions::lookup(ByteSpan id, const Identity& identity, const IpAddress& source,
                                                         net::TimePoint now) {
  ClientSession::Id key{};
  if (id.size() != key.size()) return entries_.end();
  std::ranges::copy(id, key.begin());
  const auto found = entries_.find(key);
  if (found == entries_.end()) return found;
  if (over(found->second, now)) {
    erase(found);
    return entries_.end();
  }
  const auto& owner = found->second.session->owner();
  return owner.identity == identity && owner.source == source ? found : entries_.end();
}

std::shared_ptr<ClientSession> ClientSessions::find(ByteSpan id, const Identity& identity, const IpAddress& source,
                                                    net::TimePoint now) {
  const std::lock_guard lock(mutex_);
  const auto found = lookup(id, identity, source, now);
  if (found == entries_.end()) {
    ++counted_.invalid;
    return nullptr;
  }
  found->second.used = now;
  return found->second.session;
}

bool ClientSessions::tear_down(ByteSpan id, const SessionOwner& owner, net::TimePoint now) {
  const std::lock_guard lock(mutex_);
  const auto found = lookup(id, owner.identity, owner.source, now);
  if (found == entries_.end() || found->second.session->owner() != owner) return false;
  if (torn_down_) torn_down_(found->first);
  erase(found);
  return true;
}

std::vector<MovedSession> ClientSessions::give(net::TimePoint now) {
  // `now` was taken before the lock: what a worker did meanwhile is later.
  const auto since = [now](net::TimePoint then) { return std::chrono::duration_cast<std::chrono::milliseconds>(std::max(now - then, net::TimePoint::duration::zero())); };
  const std::lock_guard lock(mutex_);
  given_ = true;
  std::vector<MovedSession> made;
  for (const auto& [id, entry] : entries_) {
    if (over(entry, now)) continue;
    made.push_back({id, entry.session->owner(), since(entry.since), since(entry.used), entry.session->give_window(), {}});
  }
  return made;
}

Result<> ClientSessions::take(MovedSession moved, net::TimePoint now) {
  const std::lock_guard lock(mutex_);
  const auto counted = counted_as(moved.owner);
  const auto mine = owners_.find(counted);
  if (entries_.size() >= limits_.total || (mine != owners_.end() && mine->second >= limits_.per_owner)) {
    return fail(Code::limit, "the old process has more sessions than are allowed here");
  }
  auto session = std::make_shared<ClientSession>(moved.id, std::move(moved.owner), std::move(moved.window));
  const auto [at, added] = entries_.emplace(moved.id, Entry{std::move(session), now - moved.age, now - moved.idle});
  if (!added) return fail(Code::conflict, "a session of the old process is here already");
  ++owners_[counted];
  return {};
}

void ClientSessions::end(const SessionId& id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(id); found != entries_.end()) erase(found);
}

ClientSessions::State ClientSessions::state() const {
  const std::lock_guard lock(mutex_);
  auto made = counted_;
  made.open = entries_.size();
  return made;
}

void ClientSessions::count_token(bool accepted) {
  const std::lock_guard lock(mutex_);
  ++(accepted ? counted_.tokens_spent : counted_.tokens_rejected);
}

}  // namespace epif::admission
