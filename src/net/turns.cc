#include "net/turns.h"

#include <sched.h>

namespace epif::net {

void take_turns(Turns turns) {
  if (turns != Turns::batch || ::sched_getscheduler(0) != SCHED_OTHER) return;
  // No privilege is needed; where it fails, turns come as usual.
  const sched_param none{};
  ::sched_setscheduler(0, SCHED_BATCH, &none);
}

}  // namespace epif::net
