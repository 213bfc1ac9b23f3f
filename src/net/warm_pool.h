#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/limits.h"
#include "net/stream.h"
#include "net/tcp.h"
#include "net/tls.h"

namespace epif::net {

/// Makes connections to one proxy under one identity, on one loop, and keeps some of them open and ready, so that a flow
/// need not wait for TCP, TLS or SOCKS5 authentication. Each is used once. For the loop's own thread.
class WarmPool {
 public:
  /// Whatever must be spoken before the connection is ready for a request (SOCKS5 greeting and authentication).
  using Prepare = std::function<Task<Result<>>(Stream& stream, TimePoint deadline)>;

  struct Settings {
    SocketAddress to;
    std::shared_ptr<TlsContext> tls;  ///< null: in clear
    std::string identity;             ///< what the peer's certificate must name; empty: any of the authority
    ConnectOptions connect;
    std::size_t keep = limits::warm_pool_connections;                 ///< 0: none kept, all made on demand
    std::chrono::milliseconds idle{limits::warm_pool_idle_s * 1000};  ///< older ones are replaced
    Prepare prepare;                                                  ///< may be empty
  };

  /// A connection for one request.
  struct Taken {
    std::unique_ptr<Stream> stream;
    std::size_t sent = 0;  ///< bytes of `first` that went with the SYN
    bool warm = false;     ///< stood ready; else made now
  };

  /// Begins to fill at once.
  WarmPool(Loop& loop, Settings settings);
  ~WarmPool();
  WarmPool(const WarmPool&) = delete;
  WarmPool& operator=(const WarmPool&) = delete;

  /// One that stands ready and was alive a moment ago (no end, no data), or a new one; a replacement is made in the
  /// background. Under load the pool grows up to limits::warm_pool_connections_most, and shrinks again to `keep`.
  /// `first` must outlive the await; it travels in the SYN of a new connection if settings.connect.fast_open and the leg is
  /// in clear without preparation, otherwise none of it is sent here: then the ClientHello or the preparation's first words do. `cancel` may end the wait. Errors: those of connect, TLS and preparation.
  [[nodiscard]] Task<Result<Taken>> take(ByteSpan first, TimePoint deadline, Cancel* cancel = nullptr);
  /// The same without waiting: null if none stands ready.
  [[nodiscard]] std::unique_ptr<Stream> take_ready();
  /// The ways to the proxy have changed: those that stand ready, or are being made, are closed, and others made after a
  /// moment, since changes come in groups. Meanwhile requests find none ready.
  void renew();
  /// From here on none is kept ready; those that stand are closed.
  void keep_none();

  [[nodiscard]] std::uint64_t hits() const;    ///< requests that found one ready
  [[nodiscard]] std::uint64_t misses() const;  ///< requests that did not
  [[nodiscard]] std::uint64_t lost() const;    ///< ended by the peer, or grown old, before use
  [[nodiscard]] std::uint64_t failed() const;  ///< attempts to fill that failed
  [[nodiscard]] std::size_t idle() const;      ///< open and waiting now
  [[nodiscard]] std::uint64_t handshakes() const;  ///< of TLS, that succeeded
  [[nodiscard]] std::uint64_t resumed() const;     ///< of these, by an earlier session

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace epif::net
