#include "net/tls.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "net/relay.h"
#include "net/tcp.h"

namespace epif::net {
namespace {

/// A CA and certificates for "umc/modality" and "umc/umc-proxy", and a foreign CA with one of the same name, made once.
class Certificates {
 public:
  Certificates() {
    char name[] = "/tmp/epif-tls-test-XXXXXX";
    folder_ = ::mkdtemp(name);
    authority("ca");
    authority("foreign-ca");
    issue("modality", "ca", "URI:epif://umc/modality");
    issue("proxy", "ca", "URI:epif://umc/umc-proxy");
    issue("nameless", "ca", "DNS:somewhere");
    issue("foreign", "foreign-ca", "URI:epif://umc/modality");
  }
  ~Certificates() { std::filesystem::remove_all(folder_); }
  [[nodiscard]] TlsFiles files(const std::string& name, const std::string& ca = "ca") const {
    return {path(name + ".pem"), path(name + ".key"), path(ca + ".pem")};
  }

 private:
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void run(const std::string& command) const {
    if (std::system((command + " 2>" + path("log")).c_str()) != 0) throw std::runtime_error("openssl failed: " + command);
  }
  void authority(const std::string& name) const {
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" + name + " -keyout " +
        path(name + ".key") + " -out " + path(name + ".pem"));
  }
  void issue(const std::string& name, const std::string& ca, const std::string& alternative) const {
    std::ofstream(path(name + ".ext")) << "subjectAltName=" << alternative << "\n";
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " -keyout " + path(name + ".key") +
        " -out " + path(name + ".csr"));
    run("openssl x509 -req -days 2 -in " + path(name + ".csr") + " -CA " + path(ca + ".pem") + " -CAkey " + path(ca + ".key") +
        " -CAcreateserial -extfile " + path(name + ".ext") + " -out " + path(name + ".pem"));
  }
  std::string folder_;
};

struct TlsTest : ::testing::Test {
  static const Certificates& certificates() {
    static const Certificates made;
    return made;
  }
  using Outcome = std::optional<Result<std::unique_ptr<TlsStream>>>;

  std::unique_ptr<Loop> loop = Loop::make().value();
  Outcome at_server, at_client;

  static Task<> accept(std::unique_ptr<SocketStream> socket, const TlsContext& context, Outcome& out) {
    auto made = co_await TlsStream::accept(std::move(socket), context, Clock::now() + std::chrono::seconds(5));
    out = std::move(made);
  }
  static Task<> connect(std::unique_ptr<SocketStream> socket, const TlsContext& context, std::string expected, Outcome& out) {
    auto made = co_await TlsStream::connect(std::move(socket), {}, context, std::move(expected), Clock::now() + std::chrono::seconds(5));
    out = std::move(made);
  }

  void TearDown() override {
    for (auto* side : {&at_server, &at_client}) {
      if (*side && **side && ***side) (***side)->abort({Code::internal, "the test is over"});
    }
  }

  template <class Condition>
  void until(Condition condition) {
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (!condition() && Clock::now() < deadline) loop->run_once(std::chrono::milliseconds(10));
    ASSERT_TRUE(condition());
  }

  void shake(const TlsFiles& server, const TlsFiles& client, const std::string& expected) {
    auto pair = stream_pair().value();
    auto server_context = TlsContext::server(server).value();
    auto client_context = TlsContext::client(client).value();
    spawn(accept(std::make_unique<SocketStream>(*loop, std::move(pair.first)), *server_context, at_server));
    spawn(connect(std::make_unique<SocketStream>(*loop, std::move(pair.second)), *client_context, expected, at_client));
    until([&] { return at_server && at_client; });
  }
};

TEST_F(TlsTest, BothSidesLearnWhoTheOtherIs) {
  shake(certificates().files("proxy"), certificates().files("modality"), "umc/umc-proxy");
  ASSERT_TRUE(*at_server) << at_server->error().text();
  ASSERT_TRUE(*at_client) << at_client->error().text();
  EXPECT_EQ((**at_server)->peer_identity(), "umc/modality");
  EXPECT_EQ((**at_client)->peer_identity(), "umc/umc-proxy");
  for (const auto* one : {&*at_server, &*at_client}) {
    const auto left = (**one)->peer_certificate_end() - std::chrono::system_clock::now();
    EXPECT_TRUE(left > std::chrono::hours(47) && left <= std::chrono::hours(48)) << "a certificate made for two days";
  }
}

TEST_F(TlsTest, ACertificateOfAnotherAuthorityIsRefused) {
  shake(certificates().files("proxy"), certificates().files("foreign"), "umc/umc-proxy");
  ASSERT_FALSE(*at_server);
  EXPECT_EQ(at_server->error().code, Code::unauthenticated);
}

TEST_F(TlsTest, TheWrongPeerIsRefusedThoughItsCertificateIsValid) {
  shake(certificates().files("modality"), certificates().files("modality"), "umc/umc-proxy");
  ASSERT_FALSE(*at_client);
  EXPECT_EQ(at_client->error().code, Code::unauthenticated);
}

/// One handshake of two contexts that live on; then a byte from the server, so that the client meets the ticket.
struct ResumptionTest : TlsTest {
  void meet(const TlsContext& server, const TlsContext& client, const std::string& expected) {
    at_server.reset();
    at_client.reset();
    auto pair = stream_pair().value();
    spawn(accept(std::make_unique<SocketStream>(*loop, std::move(pair.first)), server, at_server));
    spawn(connect(std::make_unique<SocketStream>(*loop, std::move(pair.second)), client, expected, at_client));
    until([&] { return at_server && at_client; });
    if (!*at_client || !*at_server) return;
    const Bytes byte{1};
    ASSERT_EQ((**at_server)->write_some(byte).bytes, 1u);
    bool arrived = false;
    until([&] { return arrived = arrived || (**at_client)->read_some(loop->scratch()).state == Io::State::moved; });
  }
};

TEST_F(ResumptionTest, ALaterHandshakeResumesAndStillKnowsBothIdentities) {
  const auto server = TlsContext::server(certificates().files("proxy")).value();
  const auto client = TlsContext::client(certificates().files("modality")).value();
  meet(*server, *client, "umc/umc-proxy");
  EXPECT_FALSE((**at_client)->resumed());
  for (int i = 0; i < 3; ++i) {
    meet(*server, *client, "umc/umc-proxy");
    EXPECT_TRUE((**at_client)->resumed());
    EXPECT_TRUE((**at_server)->resumed());
    EXPECT_EQ((**at_server)->peer_identity(), "umc/modality");
    EXPECT_EQ((**at_client)->peer_identity(), "umc/umc-proxy");
  }
}

TEST_F(ResumptionTest, ANewServerContextChecksCertificatesAgain) {
  const auto client = TlsContext::client(certificates().files("modality")).value();
  meet(*TlsContext::server(certificates().files("proxy")).value(), *client, "umc/umc-proxy");
  meet(*TlsContext::server(certificates().files("proxy")).value(), *client, "umc/umc-proxy");
  EXPECT_FALSE((**at_client)->resumed());
  EXPECT_EQ((**at_server)->peer_identity(), "umc/modality");
}

TEST_F(ResumptionTest, ASessionWithOnePeerIsNotOfferedToAnother) {
  const auto server = TlsContext::server(certificates().files("proxy")).value();
  const auto client = TlsContext::client(certificates().files("modality")).value();
  meet(*server, *client, "umc/umc-proxy");
  meet(*server, *client, "research/proxy");
  ASSERT_FALSE(*at_client);
  EXPECT_EQ(at_client->error().code, Code::unauthenticated);
  meet(*server, *client, "");
  EXPECT_FALSE((**at_client)->resumed());
}

TEST_F(ResumptionTest, EitherSideAloneCanSwitchItOff) {
  auto never_client = certificates().files("modality");
  auto never_server = certificates().files("proxy");
  never_client.resume = never_server.resume = false;
  for (const bool at_server_off : {false, true}) {
    const auto server = TlsContext::server(at_server_off ? never_server : certificates().files("proxy")).value();
    const auto client = TlsContext::client(at_server_off ? certificates().files("modality") : never_client).value();
    for (int i = 0; i < 3; ++i) {
      meet(*server, *client, "umc/umc-proxy");
      EXPECT_FALSE((**at_client)->resumed());
      EXPECT_FALSE((**at_server)->resumed());
    }
  }
}

TEST_F(TlsTest, ACertificateWithoutAnIdentityIsRefused) {
  shake(certificates().files("proxy"), certificates().files("nameless"), "umc/umc-proxy");
  ASSERT_FALSE(*at_server);
  EXPECT_EQ(at_server->error().code, Code::unauthenticated);
}

TEST_F(TlsTest, AFileThatIsNotThereIsNamedWithTheSystemsWords) {
  auto missing = certificates().files("proxy");
  missing.certificate = "no/such.pem";
  const auto made = TlsContext::server(missing);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::not_found);
  EXPECT_EQ(made.error().text(), "no/such.pem: cannot load the certificate: No such file or directory");
  auto folder = certificates().files("proxy");
  folder.authority = "/";
  EXPECT_EQ(TlsContext::server(folder).error().where, "/");
}

TEST_F(TlsTest, AKeyThatDoesNotFitIsAnErrorThatNamesTheFile) {
  auto files = certificates().files("proxy");
  files.key = certificates().files("modality").key;
  const auto context = TlsContext::server(files);
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().where, files.key);
}

Task<> send(Stream& to, std::size_t size, bool end, bool& done) {
  Bytes bytes(size, 7);
  auto written = co_await write_all(to, bytes);
  EXPECT_TRUE(written);
  if (end) {
    auto ended = co_await end_write(to);
    EXPECT_TRUE(ended);
  }
  done = true;
}

Task<> receive(Stream& from, std::size_t& got, std::optional<Result<>>& end) {
  Bytes buffer(30'000);
  for (;;) {
    auto n = co_await read_more(from, buffer);
    if (!n) {
      end = fail(n.error());
      co_return;
    }
    if (*n == 0) {
      end = Result<>{};
      co_return;
    }
    got += *n;
  }
}

TEST_F(TlsTest, HalfCloseWorksBothWaysAndAMissingCloseNotifyIsTruncation) {
  shake(certificates().files("proxy"), certificates().files("modality"), "");
  auto& server = ***at_server;
  auto& client = ***at_client;
  std::size_t up = 0, down = 0;
  std::optional<Result<>> up_end, down_end;
  bool sent_up = false, sent_down = false;
  spawn(receive(server, up, up_end));
  spawn(receive(client, down, down_end));
  spawn(send(client, 2'000'000, true, sent_up));
  until([&] { return up_end.has_value(); });
  EXPECT_TRUE(up_end->has_value());
  EXPECT_EQ(up, 2'000'000u);
  EXPECT_FALSE(down_end);
  spawn(send(server, 3'000'000, false, sent_down));
  until([&] { return sent_down && down == 3'000'000; });
  (**at_server).reset();  // gone without close_notify
  until([&] { return down_end.has_value(); });
  ASSERT_FALSE(down_end->has_value());
  EXPECT_EQ(down_end->error().code, Code::truncated);
}

}  // namespace
}  // namespace epif::net
