#pragma once
#include <functional>
#include <memory>
#include <string>

#include "net/tcp.h"

namespace epif::proxy {

/// A minimal HTTP/1.1 responder on a Unix socket, for GET only: each connection asks once. Root of this host alone may
/// connect (the socket is 0600).
class Admin {
 public:
  struct Answer {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
  };
  /// Gives the answer for a path without its query; status 404 for paths that are not there.
  using Ask = std::function<net::Task<Answer>(std::string path)>;

  /// `listener`: from net::listen_unix with SOCK_STREAM.
  Admin(net::Loop& loop, Fd listener, Ask ask);

 private:
  static net::Task<void> serve(net::Loop& loop, Fd connection, std::shared_ptr<Ask> ask);
  std::shared_ptr<Ask> ask_;
  net::Acceptor acceptor_;
};

/// The path of a GET request line ("GET /metrics HTTP/1.1"), without query; empty if it is none.
[[nodiscard]] std::string path_of_request(std::string_view head);

}  // namespace epif::proxy
