#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"

namespace epif::net {

/// Whether a relay moves bytes by splice(), which spares their way through user space.
enum class Splice {
  off,   ///< never
  bulk,  ///< where much is under way between two TCP sockets
  on,    ///< always between two TCP sockets
};

/// By the words of the command line.
inline const std::map<std::string, Splice> splice_words{{"off", Splice::off}, {"auto", Splice::bulk}, {"on", Splice::on}};

class PipePool;

/// A kernel pipe on loan. `held` bytes are in it; whoever lets it go with some loses them, and the pipe is closed.
class Pipe {
 public:
  Pipe(PipePool& pool, Fd read_end, Fd write_end);
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  [[nodiscard]] int read_end() const { return read_end_.get(); }
  [[nodiscard]] int write_end() const { return write_end_.get(); }
  std::size_t held = 0;

 private:
  PipePool& pool_;
  Fd read_end_;
  Fd write_end_;
};

/// The pipes of one loop: at most limits::splice_pipes at once, two descriptors each. A flow has one only while bytes are in
/// it, so few serve many.
class PipePool {
 public:
  PipePool() = default;
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  void set_mode(Splice mode) { mode_ = mode; }
  [[nodiscard]] Splice mode() const { return mode_; }
  /// An empty pipe; null if all are taken or descriptors are short: the bytes then go through user space.
  [[nodiscard]] std::unique_ptr<Pipe> take();
  /// Takes an empty pipe back.
  void give_back(std::unique_ptr<Pipe> pipe);

 private:
  friend class Pipe;
  Splice mode_ = Splice::bulk;
  std::size_t open_ = 0;
  std::vector<std::unique_ptr<Pipe>> idle_;
};

}  // namespace epif::net
