#include "functions/passthrough.h"

namespace epif::functions {
namespace {

class Passthrough final : public Transform {
 public:
  Result<Pass> feed(Direction, ByteSpan, Bytes&) override { return Pass::as_is; }
};

}  // namespace

Result<std::unique_ptr<Transform>> open_passthrough(const bridge::Open&) { return std::make_unique<Passthrough>(); }

}  // namespace epif::functions
