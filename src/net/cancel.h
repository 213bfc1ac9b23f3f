#pragma once
#include <optional>

#include "net/stream.h"

namespace epif::net {

/// Ends a connection while it is still being made: connecting, TLS handshake, greeting. On one loop; outlives what it is given to.
class Cancel {
 public:
  Cancel() = default;
  Cancel(const Cancel&) = delete;
  Cancel& operator=(const Cancel&) = delete;

  /// The attempt under way ends with `why`, and so does every later one. The first reason stays.
  void cancel(const Error& why) {
    if (!why_) why_ = why;
    if (stream_ != nullptr) stream_->abort(*why_);
  }

  /// The stream of one stage, as long as this lives. `cancel` may be null.
  class Stage {
   public:
    Stage(Cancel* cancel, Stream& stream) : cancel_(cancel) {
      if (cancel_ == nullptr) return;
      cancel_->stream_ = &stream;
      if (cancel_->why_) stream.abort(*cancel_->why_);
    }
    ~Stage() {
      if (cancel_ != nullptr) cancel_->stream_ = nullptr;
    }
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

   private:
    Cancel* cancel_;
  };

 private:
  Stream* stream_ = nullptr;
  std::optional<Error> why_;
};

}  // namespace epif::net
