#include "model/image_reference.h"

#include <gtest/gtest.h>

namespace epif {
namespace {

const std::string digest = "sha256:" + std::string(64, 'a');

BridgingFunction function(const std::string& image, Trust trust) {
  BridgingFunction out;
  out.metadata.name = "encrypt";
  out.image = image;
  out.trust = trust;
  return out;
}

TEST(ImageReference, an_id_or_a_name_with_a_digest_is_pinned) {
  for (const auto& image : {digest, "localhost/epif-bf@" + digest, "registry.example:5000/a/b:1.2@" + digest}) {
    EXPECT_EQ(digest_of_image(image), digest) << image;
    EXPECT_TRUE(check_image(function(image, Trust::platform))) << image;
  }
}

TEST(ImageReference, a_mutable_tag_is_refused_whoever_vouches_for_it) {
  for (const std::string image : {"localhost/epif-bf", "localhost/epif-bf:latest", "sha256:aa", "epif-bf@sha256:", "a@md5:00"}) {
    for (const auto trust : {Trust::untrusted, Trust::platform}) {
      const auto refused = check_image(function(image, trust));
      ASSERT_FALSE(refused) << image;
      EXPECT_EQ(refused.error().code, Code::invalid_input);
      for (const auto* word : {"BridgingFunction 'encrypt'", "spec.image", "@sha256:"}) {
        EXPECT_NE(refused.error().text().find(word), std::string::npos) << refused.error().text();
      }
    }
  }
  EXPECT_TRUE(digest_of_image("@" + digest).empty());
  EXPECT_TRUE(digest_of_image("a@sha256:" + std::string(64, 'A')).empty()) << "one spelling for one digest";
}

TEST(ImageReference, a_function_for_planning_needs_no_image) { EXPECT_TRUE(check_image(function("", Trust::platform))); }

}  // namespace
}  // namespace epif
