#include "functions/audit.h"

#include <openssl/evp.h>

#include <array>
#include <cassert>

namespace epif::functions {
namespace {

struct FreeDigest {
  void operator()(EVP_MD_CTX* digest) const { EVP_MD_CTX_free(digest); }
};

class RunningHash {
 public:
  RunningHash() : digest_(EVP_MD_CTX_new()) {
    const int good = digest_ ? EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr) : 0;
    assert(good == 1);
    static_cast<void>(good);
  }
  void add(ByteSpan bytes) {
    EVP_DigestUpdate(digest_.get(), bytes.data(), bytes.size());
    bytes_ += bytes.size();
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::string hex() const {
    const std::unique_ptr<EVP_MD_CTX, FreeDigest> copy(EVP_MD_CTX_new());  // the running one goes on
    std::array<std::uint8_t, 32> hash{};
    unsigned length = 0;
    if (!copy || EVP_MD_CTX_copy_ex(copy.get(), digest_.get()) != 1 ||
        EVP_DigestFinal_ex(copy.get(), hash.data(), &length) != 1)
      return {};
    return to_hex(hash);
  }

 private:
  std::unique_ptr<EVP_MD_CTX, FreeDigest> digest_;
  std::uint64_t bytes_ = 0;
};

class Audit final : public Transform {
 public:
  Result<Pass> feed(Direction direction, ByteSpan in, Bytes&) override {
    hash_[index(direction)].add(in);
    return Pass::as_is;
  }
  Result<> finish(Direction direction, Bytes&) override {
    ended_[index(direction)] = true;
    return {};
  }
  void report(bridge::Report& out) const override {
    for (const auto direction : {Direction::to_server, Direction::to_client}) {
      const std::string way(bridge::name(direction));
      out.detail["sha256_" + way] = hash_[index(direction)].hex();
      out.detail["read_" + way] = std::to_string(hash_[index(direction)].bytes());
      out.detail["ended_" + way] = ended_[index(direction)] ? "yes" : "no";
    }
  }

 private:
  static std::size_t index(Direction direction) { return direction == Direction::to_server ? 0 : 1; }
  std::array<RunningHash, 2> hash_;
  std::array<bool, 2> ended_{};
};

}  // namespace

Result<std::unique_ptr<Transform>> open_audit(const bridge::Open&) { return std::make_unique<Audit>(); }

}  // namespace epif::functions
