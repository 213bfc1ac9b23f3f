#include "net/pipe_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cassert>
#include <csignal>

#include "base/limits.h"

namespace epif::net {

Pipe::Pipe(PipePool& pool, Fd read_end, Fd write_end)
    : pool_(pool), read_end_(std::move(read_end)), write_end_(std::move(write_end)) {
  ++pool_.open_;
}

Pipe::~Pipe() { --pool_.open_; }

std::unique_ptr<Pipe> PipePool::take() {
  if (!idle_.empty()) {
    auto pipe = std::move(idle_.back());
    idle_.pop_back();
    return pipe;
  }
  if (open_ >= limits::splice_pipes) return nullptr;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  // splice() knows no MSG_NOSIGNAL: a peer that is gone would end the process.
  ::signal(SIGPIPE, SIG_IGN);
  // Refused where the user's share of pipe memory is spent: the pipe stays small, and works.
  ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(limits::splice_bytes));
  return std::make_unique<Pipe>(*this, Fd(ends[0]), Fd(ends[1]));
}

void PipePool::give_back(std::unique_ptr<Pipe> pipe) {
  assert(pipe->held == 0);
  idle_.push_back(std::move(pipe));
}

}  // namespace epif::net
