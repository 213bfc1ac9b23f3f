#include "net/socket_owner.h"

#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "net/cgroup.h"
#include "net/netlink.h"

namespace epif::net {
namespace {

constexpr std::uint16_t attribute_cgroup_id = 21;  // INET_DIAG_CGROUP_ID, linux/inet_diag.h since 5.9
constexpr std::uint8_t listening = 10;              // TCP_LISTEN
constexpr int kernfs_handle = 0xfe;                // FILEID_KERNFS: a cgroup's 64-bit number is its file handle

struct Query {
  nlmsghdr header{};
  inet_diag_req_v2 request{};
};

void put(const SocketAddress& address, __be32 (&ip)[4], __be16& port) {
  std::memcpy(ip, address.ip.bytes().data(), address.ip.bytes().size());
  port = htons(address.port);
}

Query query(int protocol, int family, std::uint16_t flags) {
  Query made;
  made.header.nlmsg_len = sizeof made;
  made.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  made.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  made.request.sdiag_family = static_cast<std::uint8_t>(family);
  made.request.sdiag_protocol = static_cast<std::uint8_t>(protocol);
  made.request.idiag_states = 0xffffffff;
  made.request.id.idiag_cookie[0] = made.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return made;
}

/// One socket in an answer.
struct Found {
  std::uint8_t state = 0;
  SocketAddress local;
  std::uint16_t remote_port = 0;
  std::uint32_t user = 0;
  std::uint32_t inode = 0;
  std::optional<std::uint64_t> cgroup;
};

Found read_socket(ByteSpan body) {
  inet_diag_msg head{};
  std::memcpy(&head, body.data(), sizeof head);
  const ByteSpan address(reinterpret_cast<const std::uint8_t*>(head.id.idiag_src), 16);
  const bool six = head.idiag_family == AF_INET6;
  const auto ip = six ? IpAddress::v6(address) : IpAddress::v4(address.first(4));
  Found found{head.idiag_state, {ip.unmapped(), ntohs(head.id.idiag_sport)}, ntohs(head.id.idiag_dport), head.idiag_uid, head.idiag_inode, {}};
  std::uint64_t number = 0;
  const auto cgroup = find_attribute(body.subspan(sizeof head), attribute_cgroup_id);
  if (cgroup && cgroup->size() >= sizeof number) {
    std::memcpy(&number, cgroup->data(), sizeof number);
    found.cgroup = number;
  }
  return found;
}

/// All sockets that the kernel names. Errors: io.
Result<std::vector<Found>> ask(const Query& question) {
  const Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket || ::send(socket.get(), &question, sizeof question, 0) < 0) return fail(system_error(errno, "cannot ask for a socket's owner"));
  const bool several = (question.header.nlmsg_flags & NLM_F_DUMP) != 0;
  std::vector<Found> found;
  std::array<std::uint8_t, 32'768> answer;
  bool ended = false;
  do {
    const auto got = ::recv(socket.get(), answer.data(), answer.size(), 0);
    if (got <= 0) return fail(system_error(errno, "cannot ask for a socket's owner"));
    // What breaks the format names no socket.
    static_cast<void>(each_message(ByteSpan(answer).first(static_cast<std::size_t>(got)), [&](const NetlinkMessage& message) {
      ended = message.type != SOCK_DIAG_BY_FAMILY;  // the end of a list, or an error: no such socket
      if (!ended && message.body.size() >= sizeof(inet_diag_msg)) found.push_back(read_socket(message.body));
      return !ended;
    }));
  } while (several && !ended);
  return found;
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

namespace {

Result<SocketOwner> owner_of(const Found& found) {
  // A socket that its program has closed bears user 0 and no inode: nobody's, and above all not root's.
  if (found.inode == 0) return fail(Code::not_found, "no program holds the socket any more", found.local.text());
  if (!found.cgroup) return SocketOwner{found.user, {}};
  auto path = cgroup_path(*found.cgroup);
  // Without a path only routes for users can fit: no route names this.
  return SocketOwner{found.user, path ? std::move(*path) : "?gone"};
}

}  // namespace

Result<SocketOwner> connection_owner(const SocketAddress& local, const SocketAddress& remote) {
  auto question = query(IPPROTO_TCP, local.ip.is_v6() ? AF_INET6 : AF_INET, 0);
  put(local, question.request.id.idiag_src, question.request.id.idiag_sport);
  put(remote, question.request.id.idiag_dst, question.request.id.idiag_dport);
  const auto found = ask(question);
  if (!found) return fail(found.error());
  // The kernel looks for listeners, too, where there is no connection.
  if (found->size() != 1 || found->front().state == listening || found->front().remote_port != remote.port) {
    return fail(Code::not_found, "no program of this node holds the connection", local.text());
  }
  return owner_of(found->front());
}

Result<SocketOwner> datagram_owner(const SocketAddress& local) {
  std::optional<SocketOwner> owner;
  for (const int family : {AF_INET, AF_INET6}) {
    auto question = query(IPPROTO_UDP, family, NLM_F_DUMP);
    question.request.id.idiag_sport = htons(local.port);
    const auto sockets = ask(question);
    if (!sockets) return fail(sockets.error());
    for (const auto& socket : *sockets) {
      if (socket.local.port != local.port || (!socket.local.ip.is_any() && socket.local.ip != local.ip)) continue;
      auto one = owner_of(socket);
      if (!one) return one;
      if (owner && *owner != *one) return fail(Code::not_found, "programs of several users or cgroups share the port", local.text());
      owner = std::move(*one);
    }
  }
  if (!owner) return fail(Code::not_found, "no program of this node holds the socket", local.text());
  return *owner;
}

}  // namespace epif::net
