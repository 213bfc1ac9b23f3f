#include "net/tls_sessions.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <string>

#include "base/limits.h"

namespace epif::net {
namespace {

bool holds(const TlsSessions& sessions, const std::string& name) {
  auto* copy = sessions.copy(name);
  ::SSL_SESSION_free(copy);
  return copy != nullptr;
}

TEST(TlsSessions, BeyondTheLimitTheOldestGoes) {
  TlsSessions sessions;
  for (std::size_t i = 0; i < limits::tls_sessions_max; ++i) sessions.remember(std::to_string(i), ::SSL_SESSION_new());
  sessions.remember("0", ::SSL_SESSION_new());  // seen again: the youngest now
  sessions.remember("one more", ::SSL_SESSION_new());
  EXPECT_TRUE(holds(sessions, "one more"));
  EXPECT_TRUE(holds(sessions, "0"));
  EXPECT_FALSE(holds(sessions, "1"));
  EXPECT_TRUE(holds(sessions, "2"));
}

TEST(TlsSessions, WhatIsForgottenIsGone) {
  TlsSessions sessions;
  sessions.remember("peer", ::SSL_SESSION_new());
  sessions.forget("peer");
  sessions.forget("peer");
  EXPECT_FALSE(holds(sessions, "peer"));
  sessions.remember("peer", ::SSL_SESSION_new());
  EXPECT_TRUE(holds(sessions, "peer"));
}

}  // namespace
}  // namespace epif::net
