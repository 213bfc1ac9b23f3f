#include "net/policy_route.h"

#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/bytes.h"
#include "base/fd.h"

namespace epif::net {
namespace {

/// One request: header, fixed part, attributes.
class Request {
 public:
  template <class Fixed>
  Request(std::uint16_t type, std::uint16_t flags, const Fixed& fixed) {
    append(nlmsghdr{0, type, static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags), 1, 0});
    append(fixed);
  }
  void attribute(std::uint16_t type, std::uint32_t value) {
    append(rtattr{RTA_LENGTH(sizeof value), type});
    append(value);
  }
  [[nodiscard]] ByteSpan bytes() {
    const auto length = static_cast<std::uint32_t>(used_);
    std::memcpy(buffer_.data(), &length, sizeof length);  // nlmsg_len stands first
    return {buffer_.data(), used_};
  }

 private:
  template <class Part>
  void append(const Part& part) {
    std::memcpy(buffer_.data() + used_, &part, sizeof part);
    used_ += NLMSG_ALIGN(sizeof part);
  }
  std::array<std::uint8_t, 256> buffer_{};
  std::size_t used_ = 0;
};

/// The kernel's answer: 0 or an error number.
int ask(ByteSpan request) {
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return errno;
  if (::send(socket.get(), request.data(), request.size(), 0) < 0) return errno;
  std::array<std::uint8_t, 4096> answer;
  const auto got = ::recv(socket.get(), answer.data(), answer.size(), 0);
  if (got < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) return got < 0 ? errno : EPROTO;
  nlmsgerr outcome{};
  std::memcpy(&outcome, answer.data() + NLMSG_HDRLEN, sizeof outcome);
  return -outcome.error;
}

int change_rule(bool add, unsigned char family, const LocalDelivery& wish) {
  fib_rule_hdr header{};
  header.family = family;
  header.action = FR_ACT_TO_TBL;
  Request request(add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, header);
  request.attribute(FRA_PRIORITY, wish.rule_priority);
  request.attribute(FRA_FWMARK, wish.mark);
  request.attribute(FRA_FWMASK, 0xffffffff);
  request.attribute(FRA_TABLE, wish.table);
  return ask(request.bytes());
}

int change_route(bool add, unsigned char family, const LocalDelivery& wish) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_type = RTN_LOCAL;
  header.rtm_scope = RT_SCOPE_HOST;
  header.rtm_protocol = RTPROT_STATIC;
  Request request(add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, header);
  request.attribute(RTA_TABLE, wish.table);
  request.attribute(RTA_OIF, ::if_nametoindex("lo"));
  return ask(request.bytes());
}

/// The kernel has no IPv6, or it is switched off (disable_ipv6).
bool no_family(int error) { return error == EAFNOSUPPORT || error == EOPNOTSUPP || error == EACCES || error == ENODEV; }

}  // namespace

Result<> install_local_delivery(const LocalDelivery& wish) {
  for (const auto family : {AF_INET, AF_INET6}) {
    // The route first: a rule without it would let the packets on to the other tables.
    int error = change_route(true, static_cast<unsigned char>(family), wish);
    if (error == 0) error = change_rule(true, static_cast<unsigned char>(family), wish);
    if (error == 0 || error == EEXIST || (family == AF_INET6 && no_family(error))) continue;
    return fail(system_error(error, "cannot add the routing rule that delivers captured packets", family == AF_INET ? "IPv4" : "IPv6"));
  }
  return {};
}

Result<> remove_local_delivery(const LocalDelivery& wish) {
  for (const auto family : {AF_INET, AF_INET6}) {
    for (const int error : {change_rule(false, static_cast<unsigned char>(family), wish),
                            change_route(false, static_cast<unsigned char>(family), wish)}) {
      if (error == 0 || error == ENOENT || error == ESRCH || (family == AF_INET6 && no_family(error))) continue;
      return fail(system_error(error, "cannot remove the routing rule of captured packets", family == AF_INET ? "IPv4" : "IPv6"));
    }
  }
  return {};
}

}  // namespace epif::net
