#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/tcp.h"
#include "net/unix_socket.h"

/// Restart without loss: a new process takes the listening sockets themselves over a Unix socket, and says when it serves. Only
/// then the old one accepts no more, and drains. No connection meets a moment in which nobody listens; if the new process
/// dies before, the old one goes on.
namespace epif::net {

/// A thing that changes hands: what it is, in its program's words (one line, at most 250 bytes), and a descriptor if it is one.
struct Handed {
  std::string what;
  Fd descriptor{};
};

/// The old process's side, on its control loop. One successor at a time: others are turned away.
class Handover {
 public:
  /// Each may be empty. All on the loop's thread.
  struct Calls {
    std::function<void()> asked{};                   ///< a successor is given copies: what it inherits must not change now
    std::function<std::vector<Handed>()> more{};     ///< things besides, as they are now
    std::function<void()> abandoned{};               ///< it went away before it served
    std::function<void(std::string_view)> serving{}; ///< it serves; with what announce() said. At most once
    std::function<void()> stopped{};                 ///< it was asked to stop for good, after it served: see dismiss()
    std::function<void(std::string_view)> said{};    ///< after it served, it says something besides: see say()
    std::function<void()> gone{};                    ///< after it served, it is no more
  };
  /// `listener` is bound to `path`, which the end removes. A successor may take the name with succeed_unix() before it serves; if
  /// it then goes away, the name is taken back.
  Handover(Loop& loop, Fd listener, std::string path, std::vector<Handed> things, Calls calls);
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  /// Lets go of path and things; a successor that serves is heard on.
  void close();
  /// Gives the successor that serves copies of one thing more. One at a time. After an error it gets nothing more, and knows. Errors:
  /// reset (there is none any more), timeout.
  [[nodiscard]] Task<Result<>> give(std::string what, const std::vector<Fd>& descriptors);
  /// Tells it one thing without waiting. False: there is no room until it reads, or it is no more.
  [[nodiscard]] bool tell(std::string_view what);

 private:
  struct State;
  static Task<void> serve(std::shared_ptr<State> state, Fd connection);
  std::shared_ptr<State> state_;
};

/// What the new process holds between taking the things and serving, and the old one as long as both live.
struct Inheritance {
  std::vector<Handed> things;
  std::unique_ptr<SeqPacket> predecessor;
};

/// The new process's side, before it serves; runs `loop` meanwhile. Errors: not_found (nobody offers a hand-over there),
/// conflict (another one takes over already), protocol, permission (it belongs to another user), timeout.
[[nodiscard]] Result<Inheritance> take_over(Loop& loop, const std::string& path);
/// Tells the predecessor that it may stop accepting. `words`: at most announced_max_bytes, for its Calls::serving.
inline constexpr std::size_t announced_max_bytes = 200;
void announce(SeqPacket& predecessor, std::string_view words = {});
/// The same, and waits until it has done so; runs `loop` meanwhile. Errors: conflict (it has waited too long, and goes on).
[[nodiscard]] Result<> announce_and_wait(Loop& loop, SeqPacket& predecessor, std::string_view words);
/// What a predecessor gives while it drains, after announce(): waits for one. Errors: reset (it has ended).
[[nodiscard]] Task<Result<SeqPacket::Message>> receive_given(SeqPacket& predecessor);
/// Says something to a predecessor that it need not understand, for its Calls::said; at most announced_max_bytes. Lost if the predecessor
/// does not read.
void say(SeqPacket& predecessor, std::string_view words);
/// Tells a predecessor that still drains that it is to end now, since this process was asked to stop.
void dismiss(SeqPacket& predecessor);

/// Shows in the process list (/proc/PID/comm) that this process has handed over and only carries on what it holds. For the main
/// thread.
void show_draining();
inline constexpr std::string_view draining_name = "epif-draining";

/// A listening socket as listen_unix() makes it, that takes the name from a living process in one step, so that somebody answers there at
/// any moment.
[[nodiscard]] Result<Fd> succeed_unix(const std::string& path, int type);
/// Removes the socket's name if it is still the one of that inode.
void unlink_own(const std::string& path, std::uint64_t inode);
[[nodiscard]] std::uint64_t inode_of(const std::string& path);

}  // namespace epif::net
