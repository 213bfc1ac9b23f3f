#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "net/loop.h"

/// Who else changes our tables of nftables, in the network namespace of the calling thread, over netlink.
namespace epif::net {

struct NetlinkMessage;

/// The kernel's numbers of the tables `inet NAME` and `netdev NAME`, 0 for one that is not there. No two tables ever have the same one, so
/// one that was deleted and made again is told apart. Errors: permission, unsupported, io.
[[nodiscard]] Result<std::vector<std::uint64_t>> nft_table_numbers(std::string_view name);

/// What the kernel's messages say of the tables of one name. Pure.
class NftNews {
 public:
  enum class Kind {
    none,
    look,     ///< one may be gone, or was replaced: by whom is not said
    changed,  ///< somebody has changed one and left it there; who replaces it as a whole does not do that
  };
  explicit NftNews(std::string table) : table_(std::move(table)) {}
  /// Messages as they came; a transaction may lie in several pieces.
  void read(ByteSpan messages);
  /// Messages were lost.
  void lost() {
    replaced_ = touched_ = false;
    news_ = std::max(news_, Kind::look);
  }
  /// Of all whole transactions since the last call.
  [[nodiscard]] Kind take();

 private:
  void note(const NetlinkMessage& message);
  std::string table_;
  bool touched_ = false;   ///< by the transaction that is being read
  bool replaced_ = false;  ///< likewise
  Kind news_ = Kind::none;
};

/// Calls back on the loop's thread after each transaction, of whomever, that deleted or changed one of the tables of that name, until its
/// destruction. `changed`: as NftNews::Kind::changed. A message that the kernel had no room for counts as a deletion.
class NftWatch {
 public:
  using OnChange = std::function<void(bool changed)>;
  /// Errors: permission, unsupported, no_descriptors, io.
  [[nodiscard]] static Result<std::unique_ptr<NftWatch>> start(Loop& loop, std::string table, OnChange on_change);
  ~NftWatch();
  NftWatch(const NftWatch&) = delete;
  NftWatch& operator=(const NftWatch&) = delete;

 private:
  struct State;
  explicit NftWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace epif::net
