#include "base/bytes.h"

#include <gtest/gtest.h>

namespace epif {
namespace {

TEST(Bytes, Base64AgreesWithRfc4648Section10) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},         {"f", "Zg=="},     {"fo", "Zm8="},     {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : vectors) {
    EXPECT_EQ(to_base64(as_bytes(plain)), coded);
    EXPECT_EQ(as_text(from_base64(coded)), plain);
  }
  EXPECT_TRUE(from_base64("Zg=").empty());
  EXPECT_TRUE(from_base64("Z===").empty());
  EXPECT_TRUE(from_base64("Zg==Zg==").empty());
  EXPECT_TRUE(from_base64("Zh==").empty()) << "bits that no byte has";
  EXPECT_TRUE(from_base64("Zm9=").empty());
}

TEST(Bytes, HexRoundTrips) {
  EXPECT_EQ(to_hex(from_hex("00ff10aB")), "00ff10ab");
  EXPECT_TRUE(from_hex("0").empty());
  EXPECT_TRUE(from_hex("zz").empty());
}

}  // namespace
}  // namespace epif
