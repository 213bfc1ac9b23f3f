// The program in the kernel behind net/connect_hook.h. Compiled for BPF; runs in the programs' own system calls.
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "net/connect_hook_maps.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct epif_hook_settings);
} settings SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct epif_hook_excluded);
} excluded SEC(".maps");

/* Of these two the loader brings its own, with their sizes. Destination to stand-in: */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct epif_hook_address);
  __type(value, __u32);
} stand_ins SEC(".maps");

/* Stand-in to destination: */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct epif_hook_origin);
} origins SEC(".maps");

/* The settings, if the socket is one of this network namespace. */
static __always_inline const struct epif_hook_settings *settings_for(struct bpf_sock_addr *ctx) {
  const __u32 only = 0;
  const struct epif_hook_settings *set = bpf_map_lookup_elem(&settings, &only);
  return set && bpf_get_netns_cookie(ctx) == set->netns ? set : 0;
}

static __always_inline int is_loopback(__u32 ip) { return (ip & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000); }

/* The program that connects is one that is left alone. */
static __always_inline int is_excluded(void) {
  const __u32 only = 0;
  const struct epif_hook_excluded *who = bpf_map_lookup_elem(&excluded, &only);
  if (!who) return 0;
  const __u32 user = (__u32)bpf_get_current_uid_gid();
  for (int i = 0; i < EPIF_HOOK_EXCLUDED_MOST; ++i) {
    if (i < who->user_count && who->users[i] == user) return 1;
  }
  if (who->cgroup_count == 0) return 0;
  for (int level = 1; level <= EPIF_HOOK_DEEPEST; ++level) {
    const __u64 cgroup = bpf_get_current_ancestor_cgroup_id(level);
    if (cgroup == 0) return 0;
    for (int i = 0; i < EPIF_HOOK_EXCLUDED_MOST; ++i) {
      if (i < who->cgroup_count && who->cgroups[i] == cgroup) return 1;
    }
  }
  return 0;
}

/* The stand-in of a destination, or 0. */
static __always_inline __u32 stand_in_for(struct bpf_sock_addr *ctx, const struct epif_hook_settings *set, __u32 ip) {
  struct bpf_sock *sk = ctx->sk;
  if (ctx->protocol != IPPROTO_TCP || !sk || sk->mark == set->mark) return 0;
  /* What is bound to a device could not reach loopback, and what is bound to loopback could reach nothing else. */
  if (sk->bound_dev_if != 0 || is_loopback(sk->src_ip4)) return 0;
  const struct epif_hook_address wanted = {.ip = ip, .port = (__u16)ctx->user_port, .zero = 0};
  const __u32 *stand_in = bpf_map_lookup_elem(&stand_ins, &wanted);
  return stand_in && !is_excluded() ? *stand_in : 0;
}

SEC("cgroup/connect4")
int lead(struct bpf_sock_addr *ctx) {
  const struct epif_hook_settings *set = settings_for(ctx);
  if (!set) return 1;
  const __u32 stand_in = stand_in_for(ctx, set, ctx->user_ip4);
  if (!stand_in) return 1;
  ctx->user_ip4 = stand_in;
  ctx->user_port = set->port;
  return 1;
}

/* ::ffff:a.b.c.d, as programs with one socket for both families write IPv4. */
static __always_inline int is_mapped(struct bpf_sock_addr *ctx) {
  return ctx->user_ip6[0] == 0 && ctx->user_ip6[1] == 0 && ctx->user_ip6[2] == bpf_htonl(0xffff);
}

SEC("cgroup/connect6")
int lead_mapped(struct bpf_sock_addr *ctx) {
  const struct epif_hook_settings *set = settings_for(ctx);
  if (!set || !is_mapped(ctx)) return 1;
  const __u32 stand_in = stand_in_for(ctx, set, ctx->user_ip6[3]);
  if (!stand_in) return 1;
  ctx->user_ip6[3] = stand_in;
  ctx->user_port = set->port;
  return 1;
}

/* Also for MPTCP, whose socket has names, while its subflows are TCP and connect. */
static __always_inline const struct epif_hook_origin *origin_of(struct bpf_sock_addr *ctx, __u32 stand_in) {
  if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_MPTCP) return 0;
  return bpf_map_lookup_elem(&origins, &stand_in);
}

SEC("cgroup/getpeername4")
int name_peer(struct bpf_sock_addr *ctx) {
  const struct epif_hook_settings *set = settings_for(ctx);
  if (!set || (__u16)ctx->user_port != set->port) return 1;
  const struct epif_hook_origin *origin = origin_of(ctx, ctx->user_ip4);
  if (!origin) return 1;
  ctx->user_ip4 = origin->destination.ip;
  ctx->user_port = origin->destination.port;
  return 1;
}

SEC("cgroup/getpeername6")
int name_mapped_peer(struct bpf_sock_addr *ctx) {
  const struct epif_hook_settings *set = settings_for(ctx);
  if (!set || !is_mapped(ctx) || (__u16)ctx->user_port != set->port) return 1;
  const struct epif_hook_origin *origin = origin_of(ctx, ctx->user_ip6[3]);
  if (!origin) return 1;
  ctx->user_ip6[3] = origin->destination.ip;
  ctx->user_port = origin->destination.port;
  return 1;
}

/* What the connection's far end stands for. An address that the program has bound itself is its own. */
static __always_inline const struct epif_hook_origin *origin_behind(struct bpf_sock_addr *ctx, __u32 own) {
  const struct epif_hook_settings *set = settings_for(ctx);
  struct bpf_sock *sk = ctx->sk;
  if (!set || !sk || sk->dst_port != set->port || own != bpf_htonl(INADDR_LOOPBACK)) return 0;
  return origin_of(ctx, sk->dst_ip4);
}

SEC("cgroup/getsockname4")
int name_own(struct bpf_sock_addr *ctx) {
  const struct epif_hook_origin *origin = origin_behind(ctx, ctx->user_ip4);
  if (origin) ctx->user_ip4 = origin->source;
  return 1;
}

SEC("cgroup/getsockname6")
int name_own_mapped(struct bpf_sock_addr *ctx) {
  if (!is_mapped(ctx)) return 1;
  const struct epif_hook_origin *origin = origin_behind(ctx, ctx->user_ip6[3]);
  if (origin) ctx->user_ip6[3] = origin->source;
  return 1;
}

char license_text[] SEC("license") = "Apache-2.0";
