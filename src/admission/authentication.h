#pragma once
#include <memory>
#include <optional>
#include <string>

#include "admission/client_sessions.h"
#include "admission/users.h"
#include "base/ip.h"
#include "model/route.h"
#include "net/limiter.h"
#include "socks/socks6.h"

namespace epif::admission {

/// Whom a conversation is with, and what he is asked for. Referents outlive the conversation.
struct Admission {
  const Users* users = nullptr;        ///< null or empty: no password is wanted
  ClientSessions* sessions = nullptr;  ///< null: SOCKS6 sessions are not offered
  Identity identity{};                 ///< from the certificate; empty in clear
  IpAddress source{};
  Dialect dialect = Dialect::draft;    ///< of SOCKS6
  net::Limiter::Place* place = nullptr;     ///< accounts for unread bytes; may be null

  [[nodiscard]] bool needs_password() const { return users != nullptr && !users->empty(); }
};

/// What came of the interactive phase.
struct Dialogue {
  bool accepted = false;
  std::string user;
};

/// The decision about one SOCKS6 request, as the Authentication Reply tells it.
struct Verdict {
  socks6::AuthenticationReply reply;       ///< the session id is a view into `session`
  std::shared_ptr<ClientSession> session;  ///< that the request belongs to, or opened
  bool known = false;                      ///< the client showed a certificate or a password, now or for its session
  bool token_spent = false;                ///< the request cannot be a replay
  bool moved = false;                      ///< only another process can decide: no answer, so that the client asks again
  bool ask = false;                        ///< not decided: user name and password follow, call again with the outcome
  std::string_view why;                    ///< of a refusal
};

/// Decides by session id, else by password where one is wanted. Sessions and tokens are opened, spent and torn down on the
/// way: to be called once for a request, or twice around its dialogue.
///
/// User name and password come with the request (draft-12). A client that sent none and advertises the method gets the
/// interactive phase of draft-11; one that sent wrong ones gets no second try, since guessing must cost a connection.
[[nodiscard]] Verdict authenticate(const socks6::RequestOptions& options, const Admission& who,
                                   const std::optional<Dialogue>& dialogue, net::TimePoint now);

}  // namespace epif::admission
