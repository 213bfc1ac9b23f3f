#include "proxy/listening.h"

#include <gtest/gtest.h>

namespace epif::proxy {
namespace {

TEST(Listening, IsReadAsItWasWritten) {
  for (const auto kind : {Listening::Kind::clear, Listening::Kind::tls, Listening::Kind::datagrams}) {
    for (const auto* address : {"127.0.0.1:1080", "[fd00::1]:1083"}) {
      const Listening written{kind, *SocketAddress::parse(address), 7};
      const auto read = parse_listening(print_listening(written));
      ASSERT_TRUE(read) << read.error().text();
      EXPECT_EQ(read->kind, kind);
      EXPECT_EQ(read->address, written.address);
      EXPECT_EQ(read->index, 7);
    }
  }
}

TEST(Listening, ForeignWordsAreAnError) {
  for (const auto* text : {"", "clear", "clear 127.0.0.1:1080", "quic 127.0.0.1:1080 0", "clear nowhere 0", "clear 127.0.0.1:1080 x",
                           "clear 127.0.0.1:1080 0 more", "clear 127.0.0.1:1080 70000"}) {
    EXPECT_FALSE(parse_listening(text)) << text;
  }
}

}  // namespace
}  // namespace epif::proxy
