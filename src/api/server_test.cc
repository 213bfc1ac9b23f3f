#include "api/server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/event_parser.h"
#include "api/target.h"
#include "api/test_world.h"
#include "base/fd.h"

namespace epif::api {
namespace {

using ServerTest = World;

TEST_F(ServerTest, AStrangerGetsHealthAndNothingElse) {
  auto stranger = client(as_stranger());
  EXPECT_EQ(stranger->call("GET", "/healthz")->status, 200);
  EXPECT_EQ(stranger->call("GET", "/readyz")->status, 200);
  for (const auto* path : {"/v1/nodes", "/v1/plan", "/v1/audit", "/metrics", "/openapi.json", "/no-such-path"}) {
    EXPECT_EQ(stranger->call("GET", path)->status, 401) << path;
  }
  EXPECT_EQ(stranger->call("POST", "/v1/apply", domain_and_nodes)->status, 401);
  EXPECT_EQ(store->list("Domain")->records.size(), 0u);
}

TEST_F(ServerTest, AnExpiredOrForgedTokenIsRefusedWithTheReason) {
  auto options = as_user();
  options.token.back() = options.token.back() == '0' ? '1' : '0';
  EXPECT_EQ(client(options)->call("GET", "/v1/nodes")->status, 401);
  options.token = issue_user_token(*store, "bob", std::chrono::seconds(60)).value();
  EXPECT_EQ(client(options)->call("GET", "/v1/nodes")->status, 200);
  later = std::chrono::seconds(61);
  const auto refused = client(options)->request("GET", "/v1/nodes");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unauthenticated);
  EXPECT_EQ(refused.error().what, "the token has expired");
}

TEST_F(ServerTest, AServerOfAnotherCaIsNotBelieved) {
  auto options = as_user();
  std::filesystem::create_directory(folder + "/other");
  options.tls.authority = CertificateAuthority::create(folder + "/other")->certificate();
  const auto answer = client(options)->call("GET", "/healthz");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::unauthenticated) << answer.error().text();
}

TEST_F(ServerTest, AMembersCertificateDoesNotMakeAServer) {
  server.reset();
  Router router;
  ServerOptions options{.listen = SocketAddress::parse("127.0.0.1:0").value(), .tls = identity({.identity = "a/x"})};
  server = Server::start(std::move(options), std::move(router)).value();
  url = "https://" + server->address().text();
  const auto answer = client(as_user())->call("GET", "/healthz");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::unauthenticated) << answer.error().text();
}

TEST_F(ServerTest, AClientCertificateOfAnotherCaEndsTheConnection) {
  std::filesystem::create_directory(folder + "/other");
  const auto other = CertificateAuthority::create(folder + "/other").value();
  auto side = make_key_and_request().value();
  auto options = as_agent("a/x");
  options.tls.certificate = other.issue(side.request, {.identity = "a/x"}).value();
  options.tls.key = side.key;
  const auto answer = client(options)->call("GET", "/v1/nodes");
  ASSERT_FALSE(answer);
  EXPECT_TRUE(answer.error().code == Code::unauthenticated || answer.error().code == Code::reset) << answer.error().text();
}

TEST_F(ServerTest, AnOversizeBodyIsRefusedAndTheServerGoesOn) {
  auto user = client(as_user());
  const auto answer = user->call("POST", "/v1/apply", std::string(limits::document_max_bytes + 1, ' '));
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->status, 413);
  EXPECT_EQ(user->call("GET", "/healthz")->status, 200);
}

/// A plain socket to the server's Unix socket, for bytes that no client library sends.
Fd raw(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string read_to_end(int fd) {
  std::string all;
  char bytes[4096];
  for (ssize_t size = 0; (size = ::read(fd, bytes, sizeof bytes)) > 0;) all.append(bytes, static_cast<std::size_t>(size));
  return all;
}

TEST_F(ServerTest, ASlowClientIsCutAtTheDeadline) {
  const auto slow = raw(folder + "/api.sock");
  ASSERT_GT(::write(slow.get(), "GET /healthz HT", 15), 0);
  pollfd wait{slow.get(), POLLIN, 0};
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(::poll(&wait, 1, 20'000), 1);
  EXPECT_EQ(read_to_end(slow.get()), "");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(deadline_ms / 2));
}

TEST_F(ServerTest, BytesThatAreNoHttpGetOneClearAnswer) {
  for (const std::string text : {"\x16\x03\x01nonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"}) {
    const auto odd = raw(folder + "/api.sock");
    ASSERT_GT(::write(odd.get(), text.data(), text.size()), 0);
    ::shutdown(odd.get(), SHUT_WR);
    EXPECT_NE(read_to_end(odd.get()).find("invalid_input"), std::string::npos) << text;
  }
}

TEST_F(ServerTest, RequestsInOnePieceOrByteByByteGetAnAnswerEach) {
  const std::string two = "HEAD /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n";
  std::string answers[2];
  for (const bool split : {false, true}) {
    const auto odd = raw(folder + "/api.sock");
    const std::size_t step = split ? 1 : two.size();
    for (std::size_t at = 0; at < two.size(); at += step) ASSERT_GT(::send(odd.get(), two.data() + at, step, MSG_NOSIGNAL), 0);
    answers[split ? 1 : 0] = read_to_end(odd.get());  // HTTP/1.0: the server closes
  }
  EXPECT_EQ(answers[0], answers[1]);
  const auto second = answers[0].find("HTTP/1.0 200 OK\r\n");
  ASSERT_NE(second, std::string::npos) << answers[0];
  EXPECT_TRUE(answers[0].starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(answers[0].substr(0, second).ends_with("\r\n\r\n")) << "a HEAD has no body";
  EXPECT_NE(answers[0].find("Content-Length: "), std::string::npos);
}

TEST_F(ServerTest, TheUnixSocketIsForTheLocalAdministrator) {
  auto local = client({.url = "unix:" + folder + "/api.sock"});
  EXPECT_EQ(local->call("GET", "/v1/nodes")->status, 200);
  EXPECT_EQ(local->call("GET", "/v1/nodes")->status, 200);
  EXPECT_EQ(std::filesystem::status(folder + "/api.sock").permissions(), std::filesystem::perms(0600));
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(folder + "/api.sock"));
}

TEST_F(ServerTest, APortInUseIsAClearError) {
  ServerOptions options{.listen = server->address(), .tls = std::nullopt};
  const auto second = Server::start(std::move(options), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::address_in_use);
  options = {};
  options.unix_path = folder + "/api.sock";
  EXPECT_EQ(Server::start(std::move(options), {}).error().code, Code::address_in_use);
}

TEST_F(ServerTest, ConnectionsBeyondTheCapAreDroppedOthersLive) {
  server.reset();
  Router router;
  router.add("GET", "/", [](const Request&) -> Reply { return Response{.body = "{}"}; }, {"", {}, {}, true});
  ServerOptions options;
  options.unix_path = folder + "/few.sock";
  options.connections = 2;
  server = Server::start(std::move(options), std::move(router)).value();
  auto one = client({.url = "unix:" + folder + "/few.sock"});
  auto two = client({.url = "unix:" + folder + "/few.sock"});
  EXPECT_EQ(one->call("GET", "/")->status, 200);
  EXPECT_EQ(two->call("GET", "/")->status, 200);
  EXPECT_FALSE(client({.url = "unix:" + folder + "/few.sock"})->call("GET", "/"));
  EXPECT_EQ(one->call("GET", "/")->status, 200);
}

TEST_F(ServerTest, AKeepAliveConnectionThatTheServerClosedIsMadeAgain) {
  auto user = client(as_user());
  ASSERT_EQ(user->call("GET", "/healthz")->status, 200);
  const auto where = server->address();
  server.reset();
  start(where);
  const auto again = user->call("GET", "/healthz");
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->status, 200);
}

TEST_F(ServerTest, ANewCertificateServesNewConnections) {
  ASSERT_TRUE(server->set_tls(identity({.identity = {}, .hosts = {"127.0.0.1"}})));
  EXPECT_EQ(client(as_user())->call("GET", "/healthz")->status, 200);
  EXPECT_FALSE(server->set_tls({"x", "y", "z"}));
}

TEST(RouterTest, FixedPartsWinAndMissesSayWhatIsAllowed) {
  Router router;
  const auto say = [](const char* word) {
    return [word](const Request& request) -> Reply {
      const auto found = request.parameters.find("name");
      return Response{.body = std::string(word) + (found == request.parameters.end() ? "" : " " + found->second)};
    };
  };
  router.add("GET", "/v1/{kind}", say("list"));
  router.add("GET", "/v1/{kind}/{name*}", say("one"));
  router.add("GET", "/v1/plan", say("plan"));
  const auto ask = [&](const char* method, const char* path) {
    Request request;
    request.method = method;
    request.path = path;
    request.caller = {Caller::Kind::user, "alice"};
    return std::get<Response>(router.dispatch(request));
  };
  EXPECT_EQ(ask("GET", "/v1/plan").body, "plan");
  EXPECT_EQ(ask("GET", "/v1/nodes").body, "list");
  EXPECT_EQ(ask("GET", "/v1/nodes/umc/modality").body, "one umc/modality");
  EXPECT_EQ(ask("GET", "/v1/nodes/umc%2Fmodality").body, "one umc/modality");
  EXPECT_EQ(ask("PUT", "/v1/plan").status, 405);
  EXPECT_EQ(ask("GET", "/v2").status, 404);
  for (const auto* path : {"", "v1", "/v1/%zz", "/v1/../x", "/v1/%00", "/v1//x"}) EXPECT_EQ(ask("GET", path).status, 400) << path;
}

TEST(RouterTest, AHandlerThatThrowsIsAnInternalErrorNotACrash) {
  Router router;
  router.add("GET", "/", [](const Request&) -> Reply { throw std::runtime_error("odd"); }, {"", {}, {}, true});
  Request request;
  request.method = "GET";
  request.path = "/";
  EXPECT_EQ(std::get<Response>(router.dispatch(request)).status, 500);
}

TEST(TargetTest, DecodesQueriesAndEncodesNames) {
  const auto target = parse_target("/v1/nodes?watch=1&name=a%2Fb&x=1+2&flag").value();
  EXPECT_EQ(target.path, "/v1/nodes");
  EXPECT_EQ(target.query.at("name"), "a/b");
  EXPECT_EQ(target.query.at("x"), "1 2");
  EXPECT_EQ(target.query.at("flag"), "");
  EXPECT_FALSE(parse_target("/?a=%4"));
  EXPECT_EQ(encode("a/b c"), "a%2Fb%20c");
}

TEST(EventParserTest, EventsSplitAtAnyByteAreTheSame) {
  const std::string text = ": heartbeat\n\nevent: put\nid: 7\ndata: {\"a\":1}\n\nevent: removed\nid: 8\ndata: {}\n\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EventParser parser;
    std::vector<ServerEvent> events;
    for (const auto& part : {text.substr(0, cut), text.substr(cut)}) {
      parser.feed(part);
      for (auto event = parser.next(); event && *event; event = parser.next()) events.push_back(**event);
    }
    ASSERT_EQ(events.size(), 2u) << cut;
    EXPECT_EQ(events[0].id, "7");
    EXPECT_EQ(events[0].data, "{\"a\":1}");
    EXPECT_EQ(events[1].event, "removed");
  }
}

}  // namespace
}  // namespace epif::api
