#include "net/nft.h"

#include <gtest/gtest.h>

namespace epif::net {
namespace {

TEST(Nft, FindsTablesByPrefixInAListing) {
  const auto tables = parse_table_list("table ip filter\ntable inet epif_redirect_15001\ntable netdev epif_redirect_2\nnoise\n",
                                       "epif_redirect_");
  EXPECT_EQ(tables, (std::vector<NftTable>{{"inet", "epif_redirect_15001"}, {"netdev", "epif_redirect_2"}}));
}

TEST(Nft, ABadScriptIsAnErrorWithNftsOwnWords) {
  const auto outcome = run_nft("add rule here nonsense\n");
  ASSERT_FALSE(outcome);
  EXPECT_FALSE(outcome.error().why.empty());
}

}  // namespace
}  // namespace epif::net
