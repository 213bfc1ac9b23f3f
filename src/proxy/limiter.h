#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/ip.h"

namespace epif::proxy {

/// Counts connections of the whole process: in all, for each source, for each route. Thread-safe; asked once a connection,
/// never for a byte. Outlives its places.
class Limiter {
 public:
  struct Limits {
    std::uint32_t total;
    std::uint32_t per_source;
  };
  explicit Limiter(Limits limits) : limits_(limits) {}

  /// Holds a connection's place until destroyed. Move only.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept;
    Place& operator=(Place&& other) noexcept;
    ~Place() { leave(); }
    [[nodiscard]] explicit operator bool() const { return limiter_ != nullptr; }

   private:
    friend class Limiter;
    void leave();
    Limiter* limiter_ = nullptr;
    IpAddress source_;
    std::string route_;  ///< empty: a place by source
  };

  /// Error `limit` says which one is reached.
  [[nodiscard]] Result<Place> enter(const IpAddress& source);
  /// `most` 0 means no limit of the route.
  [[nodiscard]] Result<Place> enter_route(const std::string& route, std::uint32_t most);
  [[nodiscard]] std::uint32_t total() const;

 private:
  Limits limits_;
  mutable std::mutex mutex_;
  std::uint32_t total_ = 0;
  std::map<IpAddress, std::uint32_t> sources_;
  std::unordered_map<std::string, std::uint32_t> routes_;
};

}  // namespace epif::proxy
