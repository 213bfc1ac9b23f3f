#include "nginx/configuration.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/limits.h"
#include "nginx/served.h"

namespace epif::nginx {
namespace {

class Text {
 public:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

void processes(Text& text, const Build& build) {
  text.line("# Written by epif nginx from routes.json; changes are lost.");
  if (!build.stream_module.empty()) text.line("load_module {};", quoted(build.stream_module));
  text.line("user nobody nogroup;");
  text.line("daemon off;");
  text.line("pid nginx.pid;");
  text.line("lock_file nginx.lock;");
  text.line("error_log stderr error;");
  text.line("worker_processes {};", build.workers);
  text.line("worker_rlimit_nofile {};", limits::nginx_worker_connections + 512);
  text.line("events {{");
  text.line("  worker_connections {};", limits::nginx_worker_connections);
  text.line("}}");
}

void who_may(Text& text, const Route& route) {
  text.line("    # flow {} id {}", remark(route.flow), remark(route.id));
  text.line("    listen {};", route.nginx->listen.text());
  for (const auto& client : route.nginx->clients) text.line("    allow {};", client.text());
  text.line("    deny all;");
  if (route.limits.connections != 0)
    text.line("    limit_conn port{} {};", route.nginx->listen.port, route.limits.connections);
}

std::uint32_t idle_s(const Route& route) {
  return route.limits.idle_s != 0 ? route.limits.idle_s : limits::idle_timeout_s;
}

void stream_server(Text& text, const Route& route) {
  text.line("  server {{");
  who_may(text, route);
  text.line("    proxy_pass {};", server_of(route).text());
  text.line("    proxy_timeout {}s;", idle_s(route));
  // What the direction without data carries too much is cut by count; its speed keeps the excess small until then.
  if (route.data == DataDirection::push) text.line("    proxy_download_rate {};", limits::nginx_reverse_bytes_per_s);
  if (route.data == DataDirection::pull) text.line("    proxy_upload_rate {};", limits::nginx_reverse_bytes_per_s);
  text.line("  }}");
}

void zones(Text& text, const std::vector<Route>& routes, bool http) {
  for (const auto& route : routes) {
    if (route.nginx->http != http || route.limits.connections == 0) continue;
    text.line("  limit_conn_zone $server_port zone=port{}:32k;", route.nginx->listen.port);
  }
}

void stream_block(Text& text, const std::vector<Route>& routes) {
  text.line("stream {{");
  text.line("  proxy_connect_timeout {}ms;", limits::connect_deadline_ms);
  text.line("  proxy_half_close on;");
  text.line("  proxy_next_upstream off;");
  zones(text, routes, false);
  for (const auto& route : routes) {
    if (!route.nginx->http) stream_server(text, route);
  }
  text.line("}}");
}

void http_server(Text& text, const Route& route) {
  const auto port = route.nginx->listen.port;
  text.line("  upstream server{} {{", port);
  text.line("    server {};", server_of(route).text());
  text.line("    keepalive {};", limits::nginx_kept_connections);
  text.line("  }}");
  text.line("  server {{");
  who_may(text, route);
  if (route.data == DataDirection::push) text.line("    limit_rate {};", limits::nginx_reverse_bytes_per_s);
  text.line("    location / {{");
  text.line("      proxy_pass http://server{};", port);
  text.line("      proxy_read_timeout {}s;", idle_s(route));
  text.line("      proxy_send_timeout {}s;", idle_s(route));
  text.line("    }}");
  text.line("  }}");
}

/// NGINX is here to carry, so whatever it would add, hide, merge, follow or keep is turned off.
void http_block(Text& text, const std::vector<Route>& routes) {
  text.line("http {{");
  text.line("  access_log off;");
  for (const auto* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
    text.line("  {}_temp_path temp/{};", kind, kind);
  text.line("  server_tokens off;");
  text.line("  client_max_body_size 0;");
  text.line("  client_body_timeout {}s;", limits::idle_timeout_s);
  text.line("  large_client_header_buffers 8 32k;");
  text.line("  underscores_in_headers on;");
  text.line("  ignore_invalid_headers off;");
  text.line("  merge_slashes off;");
  text.line("  reset_timedout_connection on;");
  text.line("  map $http_upgrade $connection_of_upgrade {{");
  text.line("    default upgrade;");
  text.line("    \"\" \"\";");
  text.line("  }}");
  text.line("  proxy_http_version 1.1;");
  text.line("  proxy_set_header Host $http_host;");
  text.line("  proxy_set_header Upgrade $http_upgrade;");
  text.line("  proxy_set_header Connection $connection_of_upgrade;");
  text.line("  proxy_pass_header Server;");
  text.line("  proxy_pass_header Date;");
  text.line("  proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;");
  text.line("  proxy_redirect off;");
  text.line("  proxy_buffering off;");
  text.line("  proxy_request_buffering off;");
  text.line("  proxy_max_temp_file_size 0;");
  text.line("  proxy_buffer_size 32k;");
  text.line("  proxy_buffers 8 32k;");
  text.line("  proxy_connect_timeout {}ms;", limits::connect_deadline_ms);
  zones(text, routes, true);
  for (const auto& route : routes) {
    if (route.nginx->http) http_server(text, route);
  }
  text.line("}}");
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') out += '\\';
    out += byte;
  }
  return out + '"';
}

std::string remark(std::string_view text) {
  std::string out;
  for (const char byte : text) {
    if (byte >= ' ' && byte < 0x7f && byte != '\\')
      out += byte;
    else
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return out;
}

std::string configuration(const std::vector<Route>& routes, const Build& build) {
  Text text;
  processes(text, build);
  const auto is_http = [](const Route& route) { return route.nginx->http; };
  if (!std::ranges::all_of(routes, is_http)) stream_block(text, routes);
  if (std::ranges::any_of(routes, is_http)) http_block(text, routes);
  return text.take();
}

}  // namespace epif::nginx
