#include "admission/authentication.h"

namespace epif::admission {
namespace {

/// Draft section "Idempotence options": valid only inside of a session; a token that is not eligible fails the request.
void use_tokens(const socks6::RequestOptions& options, ClientSessions& sessions, Verdict& verdict) {
  const auto tokens = verdict.session->use_tokens(options.idempotence_request, options.token);
  if (tokens.moved) {
    verdict.reply = {};
    verdict.moved = true;
    verdict.why = "a new process has the session's tokens";
    return;
  }
  verdict.reply.token_accepted = tokens.accepted;
  if (tokens.accepted) sessions.count_token(*tokens.accepted);
  verdict.token_spent = tokens.accepted == true;
  verdict.reply.window = tokens.window;
  if (tokens.accepted != false) return;
  verdict.reply = {};
  verdict.reply.token_accepted = false;
  verdict.why = "the idempotence token was spent before or never given out";
}

Verdict in_session(const socks6::RequestOptions& options, const Admission& who, net::TimePoint now) {
  Verdict made;
  made.session = who.sessions->find(options.session_id, who.identity, who.source, now);
  if (!made.session) {
    made.reply.session_invalid = true;
    made.why = "the session is not, or no longer, valid";
    return made;
  }
  made.reply.success = true;
  made.reply.session_ok = true;
  made.known = !who.identity.empty() || !made.session->owner().user.empty();
  use_tokens(options, *who.sessions, made);
  return made;
}

/// The user, or nobody and why; what the reply says about it is written to `verdict`.
std::optional<std::string> user_of(const socks6::RequestOptions& options, const Admission& who,
                                   const std::optional<Dialogue>& dialogue, Verdict& verdict) {
  if (!who.needs_password()) return std::string();
  if (options.credentials) {
    const bool accepted = who.users->accepts(options.credentials->user, options.credentials->password);
    verdict.reply.credentials_status = accepted ? 0 : 1;
    if (accepted) return std::string(options.credentials->user);
  } else if (dialogue) {
    if (dialogue->accepted) return dialogue->user;
  } else if (options.advertisement && options.advertisement->offers(socks6::Method::user_password)) {
    verdict.reply.selection = socks6::Method::user_password;
    verdict.ask = true;
    return std::nullopt;
  }
  if (options.advertisement && !dialogue) verdict.reply.selection = socks6::Method::unacceptable;
  verdict.why = "missing or wrong user name or password";
  return std::nullopt;
}

}  // namespace

Verdict authenticate(const socks6::RequestOptions& options, const Admission& who, const std::optional<Dialogue>& dialogue,
                     net::TimePoint now) {
  const bool names_session = !options.session_id.empty() && who.sessions != nullptr;
  if (names_session && !options.session_teardown) return in_session(options, who, now);
  Verdict made;
  const auto user = user_of(options, who, dialogue, made);
  if (!user) return made;
  made.reply.success = true;
  made.known = !who.identity.empty() || !user->empty();
  if (who.sessions == nullptr) return made;
  const SessionOwner owner{who.identity, *user, who.source};
  if (names_session) who.sessions->tear_down(options.session_id, owner, now);
  if (!options.session_request) return made;
  made.session = who.sessions->open(owner, now);
  if (!made.session) return made;
  made.reply.session_id = made.session->id();
  use_tokens(options, *who.sessions, made);
  if (!made.reply.success) {
    who.sessions->tear_down(made.session->id(), owner, now);  // its client never learns the id
    made.session = nullptr;
  }
  return made;
}

}  // namespace epif::admission
