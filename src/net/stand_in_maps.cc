#include "net/stand_in_maps.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "net/connect_hook_maps.h"

namespace epif::net {
namespace {

constexpr std::array<std::uint8_t, 2> block_bytes{127, 119};
constexpr std::uint32_t places = 65'534;  // all of the block but its first and last address

std::uint32_t wire(const IpAddress& ip) {
  std::uint32_t made = 0;
  std::memcpy(&made, ip.bytes().data(), sizeof made);
  return made;
}

IpAddress ip_of(std::uint32_t in_wire_order) {
  std::array<std::uint8_t, 4> bytes{};
  std::memcpy(bytes.data(), &in_wire_order, sizeof in_wire_order);
  return IpAddress::v4(bytes);
}

epif_hook_address wire(const SocketAddress& address) { return {wire(address.ip), htons(address.port), 0}; }

/// Where to look for a destination's stand-in: in every process at the same addresses, one after the other (FNV-1a).
std::uint32_t stand_in_at(const epif_hook_address& destination, std::uint32_t attempt) {
  std::array<std::uint8_t, sizeof destination> key{};
  std::memcpy(key.data(), &destination, sizeof destination);
  std::uint32_t sum = 2'166'136'261u;
  for (const auto byte : key) sum = (sum ^ byte) * 16'777'619u;
  const auto number = (sum + attempt) % places + 1;
  const std::array<std::uint8_t, 4> bytes{block_bytes[0], block_bytes[1], static_cast<std::uint8_t>(number >> 8),
                                          static_cast<std::uint8_t>(number)};
  return wire(IpAddress::v4(bytes));
}

}  // namespace

bool is_stand_in(const IpAddress& ip) { return ip.is_v4() && ip.bytes()[0] == block_bytes[0] && ip.bytes()[1] == block_bytes[1]; }

Result<StandInMaps> StandInMaps::make() {
  bpf_map_create_opts sparse{};
  sparse.sz = sizeof sparse;
  sparse.map_flags = BPF_F_NO_PREALLOC;
  // What falls out for want of room goes by the rules again. Origins stay: connections live longer than the way to them.
  Descriptors made{Fd(bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "epif_stand_ins", sizeof(epif_hook_address), sizeof(std::uint32_t),
                                     limits::connect_hook_destinations, nullptr)),
                   Fd(bpf_map_create(BPF_MAP_TYPE_HASH, "epif_origins", sizeof(std::uint32_t), sizeof(epif_hook_origin), places, &sparse))};
  if (!made.stand_ins || !made.origins) return fail(system_error(errno, "cannot make a BPF map"));
  return StandInMaps(std::move(made));
}

Result<StandInMaps::Descriptors> StandInMaps::copies() const {
  Descriptors made{Fd(::fcntl(stand_ins(), F_DUPFD_CLOEXEC, 0)), Fd(::fcntl(origins(), F_DUPFD_CLOEXEC, 0))};
  if (!made.stand_ins || !made.origins) return fail(system_error(errno, "cannot copy a descriptor"));
  return made;
}

bool StandInMaps::leads(const SocketAddress& destination) const {
  const auto key = wire(destination);
  std::uint32_t stand_in = 0;
  return bpf_map_lookup_elem(stand_ins(), &key, &stand_in) == 0;
}

Result<> StandInMaps::lead(const Origin& origin) const {
  const epif_hook_origin wished{wire(origin.destination), wire(origin.source)};
  for (std::uint32_t attempt = 0; attempt < limits::connect_hook_places_tried; ++attempt) {
    const auto stand_in = stand_in_at(wished.destination, attempt);
    // Two processes may do this at once: the kernel says whose the place is.
    if (bpf_map_update_elem(origins(), &stand_in, &wished, BPF_NOEXIST) != 0) {
      if (errno != EEXIST) return fail(system_error(errno, "cannot note a destination", origin.destination.text()));
      epif_hook_origin taken{};
      // With another source it is not taken over: connections that stand would see their own address change.
      if (bpf_map_lookup_elem(origins(), &stand_in, &taken) != 0 || std::memcmp(&taken, &wished, sizeof taken) != 0) continue;
    }
    if (bpf_map_update_elem(stand_ins(), &wished.destination, &stand_in, BPF_ANY) != 0) {
      return fail(system_error(errno, "cannot note a destination", origin.destination.text()));
    }
    return {};
  }
  return fail(Code::limit, "no stand-in is free", origin.destination.text());
}

Result<> StandInMaps::lead_none() const {
  epif_hook_address known{};
  while (bpf_map_get_next_key(stand_ins(), nullptr, &known) == 0) {
    if (bpf_map_delete_elem(stand_ins(), &known) != 0 && errno != ENOENT) return fail(system_error(errno, "cannot forget a destination"));
  }
  if (errno != ENOENT) return fail(system_error(errno, "cannot forget destinations"));
  return {};
}

std::optional<StandInMaps::Origin> StandInMaps::origin(const IpAddress& stand_in) const {
  if (!is_stand_in(stand_in)) return {};
  epif_hook_origin found{};
  const auto key = wire(stand_in);
  if (bpf_map_lookup_elem(origins(), &key, &found) != 0) return {};
  return Origin{{ip_of(found.destination.ip), ntohs(found.destination.port)}, ip_of(found.source)};
}

}  // namespace epif::net
