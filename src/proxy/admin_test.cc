#include "proxy/admin.h"

#include <gtest/gtest.h>

namespace epif::proxy {
namespace {

TEST(Admin, ReadsGetOnly) {
  EXPECT_EQ(path_of_request("GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"), "/metrics");
  EXPECT_EQ(path_of_request("POST /metrics HTTP/1.1\r\n\r\n"), "");
  EXPECT_EQ(path_of_request("GET  HTTP/1.1\r\n\r\n"), "");
  EXPECT_EQ(path_of_request("GET /metrics\r\n\r\n"), "");
}

}  // namespace
}  // namespace epif::proxy
