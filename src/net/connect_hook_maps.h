#pragma once
#include <linux/types.h>

/* What the program in the kernel and its loader share. C, for both. Addresses and ports are in network byte order. */

struct epif_hook_settings {
  __u64 netns;  /* cookie of the network namespace whose programs are led */
  __u32 mark;   /* of the redirector's own sockets, which are not */
  __u16 port;   /* where the redirector listens */
  __u16 zero;
};

#define EPIF_HOOK_EXCLUDED_MOST 16
#define EPIF_HOOK_DEEPEST 16

/* Whose connections are not led. */
struct epif_hook_excluded {
  __u64 cgroups[EPIF_HOOK_EXCLUDED_MOST];  /* their kernel numbers; programs below them count */
  __u32 users[EPIF_HOOK_EXCLUDED_MOST];
  __u32 cgroup_count;
  __u32 user_count;
};

struct epif_hook_address {
  __u32 ip;
  __u16 port;
  __u16 zero;
};

struct epif_hook_origin {
  struct epif_hook_address destination;
  __u32 source;  /* what a socket towards it is bound to, if its program binds none */
};
