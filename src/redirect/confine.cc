#include "redirect/confine.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>

namespace epif::redirect {
namespace {

#if defined(__x86_64__)
constexpr unsigned native = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned native = AUDIT_ARCH_AARCH64;
#else
#error "name the audit architecture of this machine"
#endif
constexpr unsigned first_x32_call = 0x40000000;  // a second numbering of the same calls on x86-64
constexpr unsigned i386_socketcall = 102;        // its arguments lie in memory, where a filter cannot look
constexpr unsigned i386_socket = 359;
constexpr unsigned io_uring_setup = 425;         // the same number everywhere

constexpr sock_filter load(std::size_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset)); }
constexpr sock_filter answer(unsigned verdict) { return BPF_STMT(BPF_RET | BPF_K, verdict); }
/// Skips `then` instructions if equal, `otherwise` if not.
constexpr sock_filter if_equal(unsigned value, unsigned char then, unsigned char otherwise) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, then, otherwise);
}
constexpr unsigned refusal(int error) { return SECCOMP_RET_ERRNO | static_cast<unsigned>(error); }

}  // namespace

bool deny_unguarded_sockets() {
  sock_filter program[] = {
      load(offsetof(seccomp_data, arch)),
      if_equal(native, 0, 5),
      load(offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first_x32_call, 11, 0),
      if_equal(io_uring_setup, 10, 0),
      if_equal(SYS_socket, 6, 0),
      answer(SECCOMP_RET_ALLOW),
      if_equal(AUDIT_ARCH_I386, 0, 7),
      load(offsetof(seccomp_data, nr)),
      if_equal(io_uring_setup, 5, 0),
      if_equal(i386_socketcall, 4, 0),
      if_equal(i386_socket, 0, 2),
      load(offsetof(seccomp_data, args)),
      if_equal(AF_XDP, 2, 0),
      answer(SECCOMP_RET_ALLOW),
      answer(refusal(ENOSYS)),
      answer(refusal(EAFNOSUPPORT)),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0) return true;
  // Without the right to filter (root of a container) at the price of set-user-id programs.
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace epif::redirect
