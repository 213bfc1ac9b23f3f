#include "net/socket_owner.h"

#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <mntent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "base/fd.h"

namespace epif::net {
namespace {

constexpr std::uint16_t attribute_cgroup_id = 21;  // INET_DIAG_CGROUP_ID, linux/inet_diag.h since 5.9
constexpr int kernfs_handle = 0xfe;                // FILEID_KERNFS: a cgroup's 64-bit number is its file handle

struct Query {
  nlmsghdr header{};
  inet_diag_req_v2 request{};
};

void put(const SocketAddress& address, __be32 (&ip)[4], __be16& port) {
  std::memcpy(ip, address.ip.bytes().data(), address.ip.bytes().size());
  port = htons(address.port);
}

Query query_for(int protocol, const SocketAddress& local, const SocketAddress& remote) {
  Query query;
  query.header.nlmsg_len = sizeof query;
  query.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  query.header.nlmsg_flags = NLM_F_REQUEST;
  query.request.sdiag_family = local.ip.is_v6() ? AF_INET6 : AF_INET;
  query.request.sdiag_protocol = static_cast<std::uint8_t>(protocol);
  query.request.idiag_states = 0xffffffff;
  auto& id = query.request.id;
  // The kernel takes the two ends of a UDP socket the other way round ("for historical reasons").
  const bool swapped = protocol == IPPROTO_UDP;
  put(swapped ? remote : local, id.idiag_src, id.idiag_sport);
  put(swapped ? local : remote, id.idiag_dst, id.idiag_dport);
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return query;
}

struct Found {
  std::uint32_t user = 0;
  std::optional<std::uint64_t> cgroup;
};

std::optional<Found> read_answer(const std::uint8_t* bytes, std::size_t size) {
  nlmsghdr header{};
  if (size < NLMSG_LENGTH(sizeof(inet_diag_msg))) return {};
  std::memcpy(&header, bytes, sizeof header);
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len > size) return {};
  inet_diag_msg message{};
  std::memcpy(&message, bytes + NLMSG_HDRLEN, sizeof message);
  // A socket that its program has closed bears user 0 and no inode: nobody's, and above all not root's.
  if (message.idiag_inode == 0) return {};
  Found found{message.idiag_uid, {}};
  std::size_t at = NLMSG_LENGTH(sizeof(inet_diag_msg));
  while (at + sizeof(rtattr) <= header.nlmsg_len) {
    rtattr attribute{};
    std::memcpy(&attribute, bytes + at, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > header.nlmsg_len) break;
    if (attribute.rta_type == attribute_cgroup_id && attribute.rta_len >= RTA_LENGTH(sizeof(std::uint64_t))) {
      std::uint64_t number = 0;
      std::memcpy(&number, bytes + at + RTA_LENGTH(0), sizeof number);
      found.cgroup = number;
    }
    at += RTA_ALIGN(attribute.rta_len);
  }
  return found;
}

/// Where the cgroup2 hierarchy is mounted; empty if nowhere.
std::string cgroup_mount() {
  const std::unique_ptr<FILE, int (*)(FILE*)> mounts(::setmntent("/proc/self/mounts", "r"), ::endmntent);
  if (!mounts) return {};
  mntent entry{};
  std::array<char, 4096> text;
  while (::getmntent_r(mounts.get(), &entry, text.data(), static_cast<int>(text.size())) != nullptr) {
    if (std::string_view(entry.mnt_type) == "cgroup2") return entry.mnt_dir;
  }
  return {};
}

/// Path of a cgroup by its number; nothing if it is gone.
std::optional<std::string> cgroup_path(std::uint64_t number) {
  const auto mount = cgroup_mount();
  const Fd root(mount.empty() ? -1 : ::open(mount.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return {};
  std::array<std::uint8_t, sizeof(file_handle) + sizeof number> space{};
  const std::uint32_t size = sizeof number;
  std::memcpy(space.data(), &size, sizeof size);
  std::memcpy(space.data() + sizeof size, &kernfs_handle, sizeof kernfs_handle);
  std::memcpy(space.data() + sizeof(file_handle), &number, sizeof number);
  const Fd group(::open_by_handle_at(root.get(), reinterpret_cast<file_handle*>(space.data()), O_RDONLY | O_CLOEXEC));
  if (!group) return {};
  std::array<char, 4096> target;
  const auto link = "/proc/self/fd/" + std::to_string(group.get());
  const auto length = ::readlink(link.c_str(), target.data(), target.size());
  if (length <= 0) return {};
  const std::string_view path(target.data(), static_cast<std::size_t>(length));
  if (!path.starts_with(mount) || path.ends_with(" (deleted)")) return {};
  auto below = path.substr(mount.size());
  if (below.starts_with('/')) below.remove_prefix(1);
  return std::string(below);
}

}  // namespace

Result<SocketOwner> socket_owner(int protocol, const SocketAddress& local, const SocketAddress& remote) {
  const Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket) return fail(system_error(errno, "cannot ask for a socket's owner"));
  const auto query = query_for(protocol, local, remote);
  std::array<std::uint8_t, 8192> answer;
  if (::send(socket.get(), &query, sizeof query, 0) < 0) return fail(system_error(errno, "cannot ask for a socket's owner"));
  const auto got = ::recv(socket.get(), answer.data(), answer.size(), 0);
  if (got < 0) return fail(system_error(errno, "cannot ask for a socket's owner"));
  const auto found = read_answer(answer.data(), static_cast<std::size_t>(got));
  if (!found) return fail(Code::not_found, "no program of this node holds the socket", local.text());
  if (!found->cgroup) return SocketOwner{found->user, {}};
  auto path = cgroup_path(*found->cgroup);
  // Without a path only routes for users can fit: no route names this.
  if (!path) return SocketOwner{found->user, "?gone"};
  return SocketOwner{found->user, std::move(*path)};
}

}  // namespace epif::net
