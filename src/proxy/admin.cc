#include "proxy/admin.h"

#include <fmt/format.h>

#include "base/limits.h"

namespace epif::proxy {
namespace {

std::string_view phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    default: return "Not Found";
  }
}

net::Task<Result<std::string>> read_head(net::Stream& stream, net::TimePoint deadline) {
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    if (head.size() > limits::admin_head_max_bytes) co_return fail(Code::limit, "the request's head is too long");
    std::array<std::uint8_t, 1024> part{};
    auto got = co_await net::read_more(stream, part, deadline);
    if (!got) co_return fail(std::move(got.error()));
    if (*got == 0) co_return fail(Code::truncated, "the client left");
    head += as_text(ByteSpan(part).first(*got));
  }
  co_return head;
}

}  // namespace

std::string path_of_request(std::string_view head) {
  constexpr std::string_view verb = "GET ";
  const auto line = head.substr(0, head.find("\r\n"));
  const auto end = line.rfind(" HTTP/1.");
  if (!line.starts_with(verb) || end == std::string_view::npos || end <= verb.size()) return {};
  const auto target = line.substr(verb.size(), end - verb.size());
  return std::string(target.substr(0, target.find('?')));
}

Admin::Admin(net::Loop& loop, Fd listener, Ask ask)
    : ask_(std::make_shared<Ask>(std::move(ask))),
      acceptor_(loop, std::move(listener),
                [this, &loop](Fd connection, SocketAddress) { net::spawn(serve(loop, std::move(connection), ask_)); }) {}

net::Task<void> Admin::serve(net::Loop& loop, Fd connection, std::shared_ptr<Ask> ask) {
  net::SocketStream stream(loop, std::move(connection));
  const auto deadline = net::Clock::now() + std::chrono::milliseconds(limits::admin_patience_ms);
  auto head = co_await read_head(stream, deadline);
  if (!head) co_return;
  const auto path = path_of_request(*head);
  Answer answer{400, "text/plain; charset=utf-8", "only GET is served here\n"};
  if (!path.empty()) answer = co_await (*ask)(path);
  const auto text = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
                                answer.status, phrase(answer.status), answer.type, answer.body.size(), answer.body);
  auto sent = co_await net::write_all(stream, as_bytes(text), deadline);
  if (!sent) co_return;
  auto ended = co_await net::end_write(stream, deadline);
  static_cast<void>(ended);
}

}  // namespace epif::proxy
