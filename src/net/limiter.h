#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "base/limits.h"
#include "net/loop.h"

namespace epif::net {

/// What limits by source count together: the address, or the block of limits::source_prefix_v6 bits that it lies in.
[[nodiscard]] IpAddress source_of(const IpAddress& address);

/// Counts connections of the whole process, so that one source cannot take what others need: in all and for each source how
/// many there are, how many have not said yet what they want, how fast they come, and how much memory their unread requests
/// hold; and how many each route has. Thread-safe; asked a few times a connection, never for a byte that is relayed. Outlives
/// its places.
///
/// A source is an IPv4 address or the /64 of an IPv6 one: whoever has one address there has 2^64 (RFC 4291 section 2.5.4).
class Limiter {
 public:
  struct Limits {
    std::uint32_t total;
    std::uint32_t per_source;
    std::uint32_t handshakes = limits::max_handshakes;
    std::uint32_t handshakes_per_source = limits::max_handshakes_per_source;
    std::uint32_t per_second = limits::connections_per_second;
    std::uint32_t per_second_per_source = limits::connections_per_second_per_source;
    std::size_t memory = limits::handshake_memory_bytes;
    std::size_t memory_per_source = limits::handshake_memory_bytes_per_source;
  };
  explicit Limiter(Limits limits) : limits_(limits) {}

  /// Each limit by its name in metrics.
  enum class Limit { total, per_source, handshakes, handshakes_per_source, rate, rate_per_source, memory, memory_per_source, route };
  static constexpr std::size_t limit_count = static_cast<std::size_t>(Limit::route) + 1;
  [[nodiscard]] static std::string_view name(Limit limit);

  /// Holds a connection's place until destroyed. Move only.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept;
    Place& operator=(Place&& other) noexcept;
    ~Place() { leave(); }
    [[nodiscard]] explicit operator bool() const { return limiter_ != nullptr; }

    /// The connection's handshake is over: it no longer counts as one.
    void handshake_over();
    /// From now on this place's unread bytes are `bytes`. Error `limit`: too much is held already; what was held before is.
    [[nodiscard]] Result<> hold(std::size_t bytes);

   private:
    friend class Limiter;
    void leave();
    Limiter* limiter_ = nullptr;
    IpAddress source_;
    std::string route_;  ///< empty: a place by source
    bool handshake_ = false;
    std::size_t held_ = 0;
  };

  /// Error `limit` says which one is reached.
  [[nodiscard]] Result<Place> enter(const IpAddress& source, TimePoint now = Clock::now());
  /// For a connection that had its place elsewhere already: it is never refused, and counts like any other.
  [[nodiscard]] Place readmit(const IpAddress& source);
  /// `most` 0 means no limit of the route.
  [[nodiscard]] Result<Place> enter_route(const std::string& route, std::uint32_t most);
  [[nodiscard]] std::uint32_t total() const;

  struct State {
    std::uint32_t connections = 0;
    std::uint32_t handshakes = 0;
    std::size_t memory = 0;
    std::size_t sources = 0;
    std::array<std::uint64_t, limit_count> shed{};  ///< by Limit
  };
  [[nodiscard]] State state() const;
  [[nodiscard]] const Limits& limits() const { return limits_; }

  // From one process to its successor, which counts for each source and each route what the former still holds: limiter_handover.cc.
  // What all sources hold together stays apart: it is the memory and the descriptors of a process.

  /// What one source holds.
  struct Load {
    std::uint32_t connections = 0;
    std::uint32_t handshakes = 0;
    std::size_t memory = 0;
    friend bool operator==(const Load&, const Load&) = default;
  };
  struct Held {
    std::map<IpAddress, Load> sources;
    std::map<std::string, std::uint32_t> routes;
    friend bool operator==(const Held&, const Held&) = default;
  };
  /// Here and, as far as this process counts it, elsewhere. Forgets sources that are idle.
  [[nodiscard]] Held held(TimePoint now = Clock::now());
  /// From now on these sources and routes hold so much elsewhere; one that is not named, what it held before. Errors: limit (more than
  /// limits::rate_sources of either; then nothing has changed).
  [[nodiscard]] Result<> count_elsewhere(const Held& held);
  /// Nothing is held elsewhere any more.
  void forget_elsewhere();

  /// How much of the rates is left: in all, and of sources that have not all of theirs.
  struct Rates {
    double all = 0;
    std::map<IpAddress, double> sources;
  };
  [[nodiscard]] Rates rates(TimePoint now = Clock::now()) const;
  /// No more is left from now on. Errors: as count_elsewhere().
  [[nodiscard]] Result<> follow_rates(const Rates& rates, TimePoint now = Clock::now());

 private:
  /// A token bucket that holds what a second brings.
  struct Bucket {
    double left = 0;
    TimePoint filled{};
    [[nodiscard]] bool take(std::uint32_t per_second, TimePoint now);
    [[nodiscard]] bool is_full(std::uint32_t per_second, TimePoint now) const { return content(per_second, now) >= per_second; }
    /// What there is to take.
    [[nodiscard]] double content(std::uint32_t per_second, TimePoint now) const;
    void lower_to(double most, std::uint32_t per_second, TimePoint now);
  };
  struct Source {
    std::uint32_t connections = 0;
    std::uint32_t handshakes = 0;
    std::size_t memory = 0;
    Bucket rate{};
    Load elsewhere{};  ///< in a process whose successor this one is
    [[nodiscard]] Load all() const;
  };
  [[nodiscard]] std::unexpected<Error> shed(Limit limit, std::string what);
  void forget_idle_sources(TimePoint now);
  void erase_idle_sources(TimePoint now);

  const Limits limits_;
  mutable std::mutex mutex_;
  State state_;
  Bucket rate_;
  std::map<IpAddress, Source> sources_;
  std::size_t forget_at_ = limits::rate_sources;
  std::unordered_map<std::string, std::uint32_t> routes_;
  std::map<std::string, std::uint32_t> routes_elsewhere_;
  std::size_t sources_elsewhere_ = 0;
};

}  // namespace epif::net
