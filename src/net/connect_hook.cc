#include "net/connect_hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>

#include "base/log.h"
#include "net/cgroup.h"
#include "net/connect_hook_maps.h"

// The compiled program, as it is.
asm(".pushsection .rodata\n"
    ".balign 8\n"
    ".global epif_connect_hook_begin, epif_connect_hook_end\n"
    "epif_connect_hook_begin:\n"
    ".incbin \"" EPIF_CONNECT_HOOK "\"\n"
    "epif_connect_hook_end:\n"
    ".popsection\n");
extern "C" const char epif_connect_hook_begin[];
extern "C" const char epif_connect_hook_end[];

namespace epif::net {
namespace {

[[gnu::format(printf, 2, 0)]] int to_log(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 400> text{};
  const auto length = std::vsnprintf(text.data(), text.size(), format, arguments);
  std::string line(text.data());
  while (line.ends_with('\n')) line.pop_back();
  log::debug("net", "libbpf", {{"says", line}});
  return length;
}

/// The root of the cgroups, as this process or, where something is mounted over it (ip netns exec), as the first process sees it. A mount
/// of our own would set the hierarchy's options anew, for the whole machine.
Result<Fd> cgroup_root() {
  for (const auto* process : {"self", "1"}) {
    const auto mount = cgroup_mount(process);
    if (mount.empty()) continue;
    if (Fd root(::open(mount.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); root) return root;
  }
  return fail(Code::not_found, "no cgroup2 hierarchy is mounted");
}

Result<std::uint64_t> netns_cookie() {
  const Fd any(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  if (!any || ::getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
    return fail(system_error(errno, "cannot tell network namespaces apart"));
  }
  return cookie;
}

}  // namespace

void ConnectHook::ObjectEnd::operator()(bpf_object* object) const { bpf_object__close(object); }
void ConnectHook::LinkEnd::operator()(bpf_link* link) const { bpf_link__destroy(link); }

ConnectHook::~ConnectHook() = default;

Result<std::unique_ptr<ConnectHook>> ConnectHook::attach(const Settings& settings, const Excluded& excluded, const StandInMaps& maps) {
  libbpf_set_print(to_log);
  std::unique_ptr<ConnectHook> hook(new ConnectHook);
  if (auto loaded = hook->load(settings, excluded, maps); !loaded) return fail(std::move(loaded.error()));
  auto root = cgroup_root();
  if (!root) return fail(std::move(root.error()));
  // Names first: at no moment is a connection led that would see its stand-in.
  for (const bool leads : {false, true}) {
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, hook->object_.get()) {
      const std::string_view section = bpf_program__section_name(program);
      if (section.starts_with("cgroup/connect") != leads) continue;
      Link link(bpf_program__attach_cgroup(program, root->get()));
      if (!link) return fail(system_error(errno, "cannot attach a program to the cgroups", std::string(section)));
      (leads ? hook->leading_ : hook->naming_).push_back(std::move(link));
    }
  }
  hook->object_.reset();  // the links hold all that the kernel needs
  return hook;
}

Result<> ConnectHook::load(const Settings& settings, const Excluded& excluded, const StandInMaps& maps) {
  auto netns = netns_cookie();
  if (!netns) return fail(std::move(netns.error()));
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = "epif_connect";
  const auto size = static_cast<std::size_t>(epif_connect_hook_end - epif_connect_hook_begin);
  object_.reset(bpf_object__open_mem(epif_connect_hook_begin, size, &options));
  if (!object_) return fail(system_error(errno, "cannot read the program for connect()"));
  const auto map = [this](const char* name) { return bpf_object__find_map_by_name(object_.get(), name); };
  if (bpf_map__reuse_fd(map("stand_ins"), maps.stand_ins()) != 0 || bpf_map__reuse_fd(map("origins"), maps.origins()) != 0 ||
      bpf_object__load(object_.get()) != 0) {
    return fail(system_error(errno, "the kernel does not take the program for connect()"));
  }
  const std::uint32_t only = 0;
  const epif_hook_settings set{*netns, settings.mark, htons(settings.port), 0};
  if (bpf_map_update_elem(bpf_map__fd(map("settings")), &only, &set, BPF_ANY) != 0) {
    return fail(system_error(errno, "cannot set up the program for connect()"));
  }
  excluded_ = Fd(::fcntl(bpf_map__fd(map("excluded")), F_DUPFD_CLOEXEC, 0));
  return exclude(excluded);
}

Result<> ConnectHook::exclude(const Excluded& excluded) {
  if (excluded.users.size() > EPIF_HOOK_EXCLUDED_MOST || excluded.cgroups.size() > EPIF_HOOK_EXCLUDED_MOST ||
      excluded.deepest > EPIF_HOOK_DEEPEST) {
    return fail(Code::limit, "more programs are excluded than connect() can be told");
  }
  epif_hook_excluded set{};
  std::ranges::copy(excluded.users, std::begin(set.users));
  std::ranges::copy(excluded.cgroups, std::begin(set.cgroups));
  set.user_count = static_cast<std::uint32_t>(excluded.users.size());
  set.cgroup_count = static_cast<std::uint32_t>(excluded.cgroups.size());
  const std::uint32_t only = 0;
  if (!excluded_ || bpf_map_update_elem(excluded_.get(), &only, &set, BPF_ANY) != 0) {
    return fail(system_error(errno, "cannot tell the program for connect() who is excluded"));
  }
  return {};
}

}  // namespace epif::net
