#include "observe/program_of.h"

#include <dirent.h>
#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <vector>

#include "base/fd.h"

namespace epif::observe {
namespace {

struct Query {
  nlmsghdr header{};
  inet_diag_req_v2 request{};
};

void put(const SocketAddress& address, __be32 (&ip)[4], __be16& port) {
  std::memcpy(ip, address.ip.bytes().data(), address.ip.bytes().size());
  port = htons(address.port);
}

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

std::vector<int> numbers_in(const Folder& folder) {
  std::vector<int> found;
  while (const auto* entry = folder ? ::readdir(folder.get()) : nullptr) {
    int number = 0;
    const std::string_view text(entry->d_name);
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec == std::errc{} && read.ptr == text.data() + text.size()) found.push_back(number);
  }
  return found;
}

/// The socket that descriptor `number` of a process is; 0 if it is none.
std::uint32_t socket_at(const Folder& descriptors, int number) {
  constexpr std::string_view prefix = "socket:[";
  std::array<char, 64> target;
  const auto length = ::readlinkat(::dirfd(descriptors.get()), std::to_string(number).c_str(), target.data(), target.size());
  if (length <= 0) return 0;
  const std::string_view text(target.data(), static_cast<std::size_t>(length));
  std::uint32_t inode = 0;
  if (text.starts_with(prefix)) std::from_chars(text.data() + prefix.size(), text.data() + text.size(), inode);
  return inode;
}

}  // namespace

std::optional<Holder> holder_of(Protocol protocol, const SocketAddress& local, const std::optional<SocketAddress>& to) {
  // Every byte 0 is the other end of a socket that has none.
  const auto remote = to.value_or(SocketAddress{local.ip.is_v6() ? IpAddress::v6(Bytes(16)) : IpAddress{}, 0});
  const bool udp = protocol == Protocol::udp;
  Query query;
  query.header.nlmsg_len = sizeof query;
  query.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  query.header.nlmsg_flags = NLM_F_REQUEST;
  query.request.sdiag_family = local.ip.is_v6() ? AF_INET6 : AF_INET;
  query.request.sdiag_protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
  query.request.idiag_states = 0xffffffff;
  // The kernel takes the ends of a UDP socket the other way round.
  auto& id = query.request.id;
  put(udp ? remote : local, id.idiag_src, id.idiag_sport);
  put(udp ? local : remote, id.idiag_dst, id.idiag_dport);
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  const Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket || ::send(socket.get(), &query, sizeof query, 0) < 0) return {};
  std::array<std::uint8_t, 8192> answer{};
  const auto got = ::recv(socket.get(), answer.data(), answer.size(), 0);
  nlmsghdr header{};
  inet_diag_msg message{};
  if (got < static_cast<ssize_t>(NLMSG_HDRLEN + sizeof message)) return {};
  std::memcpy(&header, answer.data(), sizeof header);
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return {};
  std::memcpy(&message, answer.data() + NLMSG_HDRLEN, sizeof message);
  if (message.idiag_inode == 0) return {};  // its program has closed it
  return Holder{message.idiag_uid, message.idiag_inode};
}

std::string user_name(std::uint32_t user) {
  std::array<char, 4096> space;
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(user, &entry, space.data(), space.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return std::to_string(user);
}

std::map<std::uint32_t, std::string> commands_with(std::set<std::uint32_t> inodes) {
  std::map<std::uint32_t, std::string> found;
  auto processes = numbers_in(Folder(::opendir("/proc"), ::closedir));
  std::ranges::sort(processes, std::greater{});
  for (const auto process : processes) {
    if (inodes.empty()) break;
    const Folder descriptors(::opendir(fmt::format("/proc/{}/fd", process).c_str()), ::closedir);
    for (const auto number : numbers_in(descriptors)) {
      const auto inode = socket_at(descriptors, number);
      if (inode == 0 || inodes.erase(inode) == 0) continue;
      std::ifstream file(fmt::format("/proc/{}/comm", process));
      std::getline(file, found[inode]);
    }
  }
  return found;
}

}  // namespace epif::observe
