#pragma once
#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"

/// Two network namespaces and two links, of this process alone. They have no names: the kernel removes them with the last
/// descriptor and process, so neither Ctrl-C nor a crash leaves anything behind.
namespace epif::leak {

/// While it lives, the calling thread is in the namespace.
class Inside {
 public:
  explicit Inside(const Fd& space);
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Fd home_;
};

/// near 198.18.0.1 fd65:7069::1   ── uplink ── 198.18.0.2 fd65:7069::2    far, and on both links its
///      198.18.1.1 fd65:7069:1::1 ── detour ── 198.18.1.2 fd65:7069:1::2  198.18.0.2 to .4, fd65:7069::2 to ::4
/// While there is an uplink, all goes by it; without one, by the detour. (RFC 2544 addresses)
class BareLab {
 public:
  /// Errors: permission, unsupported (no veth devices), io.
  [[nodiscard]] static Result<std::unique_ptr<BareLab>> make();

  [[nodiscard]] const Fd& near() const { return near_; }
  [[nodiscard]] const Fd& far() const { return far_; }
  /// Removes the uplink with both its ends, and makes it again.
  [[nodiscard]] Result<> remove_link();
  [[nodiscard]] Result<> make_link();

  static constexpr std::string_view device = "uplink";
  static constexpr std::string_view second_device = "detour";
  /// The index of a link's far end, by which a tap there knows it; 0: there is none now.
  [[nodiscard]] unsigned far_index(std::string_view link) const;
  [[nodiscard]] static IpAddress near_address(bool v6);
  [[nodiscard]] static IpAddress gate(bool v6);    ///< far's first address: the proxy's
  [[nodiscard]] static IpAddress target(bool v6);  ///< far's second address
  [[nodiscard]] static IpAddress witness(bool v6);  ///< far's third address, for controls where the target is protected

 private:
  [[nodiscard]] Result<> make_second();
  BareLab(Fd near, Fd far) : near_(std::move(near)), far_(std::move(far)) {}
  Fd near_;
  Fd far_;
};

}  // namespace epif::leak
