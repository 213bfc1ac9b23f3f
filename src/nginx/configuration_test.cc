#include "nginx/configuration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nginx/sample.h"

namespace epif::nginx {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view golden = R"(# Written by epif nginx from routes.json; changes are lost.
load_module "/usr/lib/nginx/modules/ngx_stream_module.so";
user nobody nogroup;
daemon off;
pid nginx.pid;
lock_file nginx.lock;
error_log stderr error;
worker_processes 2;
worker_rlimit_nofile 4608;
events {
  worker_connections 4096;
}
stream {
  proxy_connect_timeout 10000ms;
  proxy_half_close on;
  proxy_next_upstream off;
  limit_conn_zone $server_port zone=port21001:32k;
  server {
    # flow imaging/send id a
    listen 10.1.0.2:21000;
    allow 10.1.0.10;
    allow 10.1.0.11;
    deny all;
    proxy_pass 10.2.0.10:4242;
    proxy_timeout 3600s;
  }
  server {
    # flow imaging/send6 id b
    listen [fd01::2]:21001;
    allow fd01::10;
    deny all;
    limit_conn port21001 8;
    proxy_pass [fd02::10]:4242;
    proxy_timeout 60s;
    proxy_download_rate 8388608;
  }
}
)";

TEST(Configuration, TheSameRoutesGiveTheseBytes) {
  auto first = sample::route("a", "imaging/send", "10.1.0.2:21000", {"10.1.0.10", "10.1.0.11"}, "10.2.0.10:4242");
  auto second = sample::route("b", "imaging/send6", "[fd01::2]:21001", {"fd01::10"}, "[fd02::10]:4242");
  second.limits.connections = 8;
  second.limits.idle_s = 60;
  second.data = DataDirection::push;
  const Build build{"/usr/lib/nginx/modules/ngx_stream_module.so", 2};
  EXPECT_EQ(configuration({first, second}, build), golden);
  EXPECT_EQ(configuration({first, second}, build), configuration({first, second}, build));
}

TEST(Configuration, EveryServerDeniesAllButItsClientsAndNothingIsWrittenElsewhere) {
  auto web = sample::route("w", "web/get", "10.1.0.2:21002", {"10.1.0.10"}, "10.2.0.10:80");
  web.nginx->http = true;
  const auto text = configuration({web}, {"", 1});
  EXPECT_THAT(text, Not(HasSubstr("stream {")));
  EXPECT_THAT(text, Not(HasSubstr("load_module")));
  EXPECT_THAT(text, HasSubstr("    allow 10.1.0.10;\n    deny all;\n"));
  EXPECT_THAT(text, HasSubstr("proxy_pass http://server21002;"));
  for (const auto* path :
       {"client_body_temp_path temp/", "proxy_temp_path temp/", "fastcgi_temp_path temp/", "uwsgi_temp_path temp/",
        "scgi_temp_path temp/", "pid nginx.pid;", "proxy_max_temp_file_size 0;", "proxy_request_buffering off;"}) {
    EXPECT_THAT(text, HasSubstr(path));
  }
  EXPECT_THAT(text, Not(HasSubstr("_path /")));
}

TEST(Configuration, AHostileNameStaysInItsComment) {
  auto route = sample::route("a", "x\n}\nserver { listen 0.0.0.0:22; } # \\ $y ; \"'\r\xff", "10.1.0.2:21000", {"10.1.0.10"},
                             "10.2.0.10:80");
  const auto text = configuration({route}, {"/m\"; x; \\", 1});
  EXPECT_THAT(text, HasSubstr("    # flow x\\x0a}\\x0aserver { listen 0.0.0.0:22; } # \\x5c $y ; \"'\\x0d\\xff id a\n"));
  EXPECT_THAT(text, HasSubstr("load_module \"/m\\\"; x; \\\\\";\n"));
}

}  // namespace
}  // namespace epif::nginx
