#pragma once
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include "api/wire.h"

/// Beast's HTTP parser fed from a Wire. Include only from the .cc files that speak HTTP.
namespace epif::api {

/// Appends what the connection brings next.
inline boost::asio::awaitable<Wire::ErrorCode> read_more(Wire& wire, boost::beast::flat_buffer& buffer) {
  constexpr std::size_t at_once = 16 * 1024;
  const auto room = buffer.prepare(at_once);
  const auto moved = co_await wire.read({static_cast<char*>(room.data()), room.size()});
  buffer.commit(moved.size);
  co_return moved.error;
}

/// Until `parser` has its header (`only_header`), or the whole message. Errors: the connection's and http::error, of which
/// end_of_stream says that the peer closed between two messages. `buffer` keeps what belongs to the next.
template <bool is_request>
boost::asio::awaitable<Wire::ErrorCode> read_message(Wire& wire, boost::beast::flat_buffer& buffer,
                                                     boost::beast::http::basic_parser<is_request>& parser, bool only_header) {
  using HttpError = boost::beast::http::error;
  parser.eager(!only_header);
  for (;;) {
    Wire::ErrorCode error = HttpError::need_more;
    if (buffer.size() != 0) {
      buffer.consume(parser.put(boost::asio::const_buffer(buffer.data()), error));
      if (error && error != HttpError::need_more) co_return error;
      if (only_header ? parser.is_header_done() : parser.is_done()) co_return Wire::ErrorCode();
    }
    if (error != HttpError::need_more && buffer.size() != 0) continue;
    error = co_await read_more(wire, buffer);
    if (error == boost::asio::error::eof) {
      if (!parser.got_some()) co_return HttpError::end_of_stream;
      parser.put_eof(error);
      co_return error;
    }
    if (error) co_return error;
  }
}

}  // namespace epif::api
