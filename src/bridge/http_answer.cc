#include "bridge/http_answer.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstring>

#include "base/limits.h"

namespace epif::bridge {
namespace {

namespace http = boost::beast::http;

std::unexpected<Error> broken(std::string why) { return fail(Code::engine, "the answer is broken", {}, std::move(why)); }

}  // namespace

Result<HttpAnswer> read_http_answer(const std::function<Result<std::size_t>(MutableByteSpan)>& read, bool head) {
  http::response_parser<http::string_body> parser;
  parser.body_limit(limits::document_max_bytes);
  parser.eager(true);
  parser.skip(head);
  Bytes buffer(64 * 1024);
  std::size_t held = 0;
  boost::beast::error_code error;
  while (!parser.is_done()) {
    if (held == buffer.size()) return broken("its answer's header is too long");
    const auto got = read(MutableByteSpan(buffer).subspan(held));
    if (!got) return fail(got.error());
    if (*got == 0) {
      if (!parser.got_some()) return broken("it closed the connection without an answer");  // put_eof() takes that for a mistake of ours
      parser.put_eof(error);
      if (error || !parser.is_done()) return broken("it closed the connection in the middle of an answer");
      break;
    }
    held += *got;
    const auto used = parser.put(boost::asio::const_buffer(buffer.data(), held), error);
    if (error && error != http::error::need_more) return broken("its answer is not HTTP: " + error.message());
    std::memmove(buffer.data(), buffer.data() + used, held - used);
    held -= used;
  }
  return HttpAnswer{static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
}

}  // namespace epif::bridge
