#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "net/stand_in_maps.h"

struct bpf_link;
struct bpf_object;

namespace epif::net {

/// The shortest way from an unmodified program to a listener of this node: BPF programs in connect() itself (cgroup/connect4, and
/// connect6 for IPv4 addresses in IPv6 sockets) put a stand-in on loopback in the place of the destination. So there is no address
/// translation, and no packet of the connection is looked up in connection tracking. The program that connects still sees the
/// destination as its peer, and the address that it would have had as its own (getpeername, getsockname).
///
/// It only ever shortens: what it does not know, or does not reach (another root of cgroups, IPv6, a socket bound to a device or to
/// loopback), goes where the rules of nftables send it. Needs Linux 5.14, CAP_BPF and CAP_NET_ADMIN.
class ConnectHook {
 public:
  struct Settings {
    std::uint16_t port = 0;  ///< stand-ins' port: the listener's
    std::uint32_t mark = 0;  ///< of sockets that are left alone
  };
  /// Programs that are left alone. The hook asks who connects: of a socket that another program has made, the maker does not show.
  struct Excluded {
    std::vector<std::uint32_t> users;
    std::vector<std::uint64_t> cgroups;  ///< the kernel's numbers; what lies below them counts
    unsigned deepest = 0;                ///< of these cgroups, below the hierarchy's root
  };

  /// For programs of this thread's network namespace, whatever their cgroup. Nothing outlives this object and its process. Errors:
  /// permission, not_found (no cgroup2 hierarchy), unsupported, io.
  /// `excluded`: as exclude() has it.
  [[nodiscard]] static Result<std::unique_ptr<ConnectHook>> attach(const Settings& settings, const Excluded& excluded,
                                                                   const StandInMaps& maps);
  ~ConnectHook();
  ConnectHook(const ConnectHook&) = delete;
  ConnectHook& operator=(const ConnectHook&) = delete;

  /// From here on these programs are left alone, and no others. Errors: limit (more than the hook can hold), io.
  [[nodiscard]] Result<> exclude(const Excluded& excluded);
  /// No connection is led from here on. Those that were still see the addresses as they shall.
  void stop_leading() { leading_.clear(); }

 private:
  struct ObjectEnd {
    void operator()(bpf_object* object) const;
  };
  struct LinkEnd {
    void operator()(bpf_link* link) const;
  };
  using Link = std::unique_ptr<bpf_link, LinkEnd>;
  ConnectHook() = default;
  [[nodiscard]] Result<> load(const Settings& settings, const Excluded& excluded, const StandInMaps& maps);

  std::unique_ptr<bpf_object, ObjectEnd> object_;
  Fd excluded_;  ///< the map
  std::vector<Link> naming_;
  std::vector<Link> leading_;
};

}  // namespace epif::net
