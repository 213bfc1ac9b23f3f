#include "functions/encrypt.h"

#include "functions/sealed_frames.h"

namespace epif::functions {
namespace {

class SealedPair final : public Transform {
 public:
  SealedPair(Suite suite, ByteSpan key, Direction sealed_way, Direction opened_way)
      : sealed_way_(sealed_way), sealer_(suite, key, sealed_way), opener_(suite, key, opened_way) {}

  Result<Pass> feed(Direction direction, ByteSpan in, Bytes& out) override {
    const auto done = direction == sealed_way_ ? sealer_.seal(in, out) : opener_.open(in, out);
    if (!done) return fail(done.error());
    return Pass::output;
  }
  Result<> finish(Direction direction, Bytes& out) override {
    return direction == sealed_way_ ? sealer_.finish(out) : opener_.finish();
  }

 private:
  Direction sealed_way_;
  Sealer sealer_;
  Opener opener_;
};

Result<std::unique_ptr<Transform>> open_half(const bridge::Open& open, Direction sealed_way, Direction opened_way) {
  const auto named = open.parameters.find("cipher");
  const auto suite = named == open.parameters.end() ? Result<Suite>(Suite::aes_256_gcm) : parse_suite(named->second);
  if (!suite) return fail(suite.error());
  if (open.key.size() != 32) return fail(Code::denied, "there is no key for this connection");
  return std::make_unique<SealedPair>(*suite, open.key, sealed_way, opened_way);
}

}  // namespace

Result<std::unique_ptr<Transform>> open_encrypt(const bridge::Open& open) {
  return open_half(open, Direction::to_server, Direction::to_client);
}
Result<std::unique_ptr<Transform>> open_decrypt(const bridge::Open& open) {
  return open_half(open, Direction::to_client, Direction::to_server);
}

}  // namespace epif::functions
