#pragma once
#include "model/route.h"
#include "net/warm_pool.h"
#include "onward/attempt.h"
#include "onward/upstream.h"

namespace epif::onward {

/// What the next proxy is asked for. The views of `encapsulations` must outlive the call.
struct NextRequest {
  Destination target;
  std::string flow;
  socks::InlineList<socks6::KeyEncapsulation, socks6::encapsulations_max> encapsulations{};
  socks6::StackOptions stack{};
  Dialect dialect = Dialect::draft;  ///< socksx: the target alone is sent, and the application's bytes wait for the reply
  socks::Command command = socks::Command::connect;
  std::optional<Destination> expected_peer{};  ///< BIND: who is to connect
};

/// Takes a connection from `pool`, asks for the target by SOCKS6, and returns when the next proxy has agreed. `first` follows
/// the request without waiting (false start); all of it counts as sent then. While it waits, `attempt` knows the stream, so that
/// a cut reaches it. With UDP ASSOCIATE the messages follow in Upstream::early and the stream. With BIND its second reply follows,
/// for read_next_reply(). Errors: the pool's; the next proxy's refusal as our code; protocol, timeout.
[[nodiscard]] net::Task<Result<Upstream>> connect_next(net::WarmPool& pool, NextRequest request, ByteSpan first, Attempt& attempt,
                                                       net::TimePoint deadline);

/// One more Operation Reply of the next proxy, the second one of a BIND: changes `made.bound`, `stack` and `early`. Errors: as
/// above.
[[nodiscard]] net::Task<Result<>> read_next_reply(Upstream& made, net::TimePoint deadline);

}  // namespace epif::onward
