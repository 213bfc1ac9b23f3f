#include "api/pki.h"

#include <gtest/gtest.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "api/openssl.h"
#include "api/tokens.h"

namespace epif::api {
namespace {

using namespace std::chrono_literals;

class PkiTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = testing::TempDir() + "epif-pki-XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string folder;
};

TEST_F(PkiTest, ACaIsMadeOnceAndItsKeyIsOnlyForItsOwner) {
  const auto made = CertificateAuthority::create(folder);
  ASSERT_TRUE(made) << made.error().text();
  struct stat info{};
  ASSERT_EQ(stat((folder + "/ca.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(made->fingerprint().size(), 64u);
  EXPECT_EQ(CertificateAuthority::open(folder)->fingerprint(), made->fingerprint());
  EXPECT_EQ(CertificateAuthority::create(folder).error().code, Code::conflict);
}

TEST_F(PkiTest, ACaKeyReadableByOthersIsRefused) {
  ASSERT_TRUE(CertificateAuthority::create(folder));
  ASSERT_EQ(chmod((folder + "/ca.key").c_str(), 0644), 0);
  EXPECT_EQ(CertificateAuthority::open(folder).error().code, Code::permission);
}

TEST_F(PkiTest, ACertificateCarriesTheNamesOfTheProfileAndVerifies) {
  const auto authority = CertificateAuthority::create(folder).value();
  const auto side = make_key_and_request().value();
  const auto certificate = authority.issue(side.request, {.identity = "umc/umc-proxy", .hosts = {"proxy.umc.example", "10.1.0.2", "fd09::5"}});
  ASSERT_TRUE(certificate) << certificate.error().text();
  EXPECT_EQ(identity_of(*certificate), "umc/umc-proxy");
  const auto parsed = parse_certificate(*certificate);
  EXPECT_EQ(X509_check_host(parsed.get(), "proxy.umc.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_ip_asc(parsed.get(), "10.1.0.2", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(parsed.get(), "fd09::5", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(parsed.get(), "10.1.0.3", 0), 0);
  const auto ca = parse_certificate(authority.certificate());
  EXPECT_EQ(X509_verify(parsed.get(), X509_get0_pubkey(ca.get())), 1);
  EXPECT_EQ(X509_check_private_key(parsed.get(), parse_key(side.key).get()), 1);
  const auto left = *expiry_of(*certificate) - std::chrono::system_clock::now();
  EXPECT_GT(left, 89 * 24h);
  EXPECT_LT(left, 91 * 24h);
}

TEST_F(PkiTest, BadRequestsAndNamesAreRefused) {
  const auto authority = CertificateAuthority::create(folder).value();
  const auto request = make_key_and_request()->request;
  EXPECT_EQ(authority.issue("nonsense", {.identity = "a/b"}).error().code, Code::invalid_input);
  for (const auto* identity : {"a", "a/b/c", "-a/b", "a/", "a,DNS:evil/b", "a/b\n"}) {
    EXPECT_EQ(authority.issue(request, {.identity = identity}).error().code, Code::invalid_input) << identity;
  }
  EXPECT_EQ(authority.issue(request, {.hosts = {"x,URI:epif://a/b"}}).error().code, Code::invalid_input);
  EXPECT_EQ(authority.issue(request, {}).error().code, Code::invalid_input);
}

TEST(Tokens, AJoinTokenCoversItsScopeOnlyAndExpires) {
  const auto store = store::make_memory_store();
  const auto now = std::chrono::system_clock::now();
  const auto check = [&](const JoinToken& token, const char* identity, std::chrono::seconds later = 0s) {
    const auto result = check_join_token(*store, token.id, token.secret, identity, now + later);
    return result ? std::string("ok") : std::string(name(result.error().code));
  };
  const auto node = issue_join_token(*store, "umc/modality", std::string(64, 'a')).value();
  EXPECT_EQ(check(node, "umc/modality"), "ok");
  EXPECT_EQ(check(node, "umc/other"), "denied");
  EXPECT_EQ(check(node, "umc/modality", 3601s), "expired");
  const auto domain = issue_join_token(*store, "umc", std::string(64, 'a')).value();
  EXPECT_EQ(check(domain, "umc/other"), "ok");
  EXPECT_EQ(check(domain, "umc2/other"), "denied");
  EXPECT_EQ(check(issue_join_token(*store, "*", std::string(64, 'a')).value(), "x/y"), "ok");
  auto forged = node;
  forged.secret.back() = forged.secret.back() == '0' ? '1' : '0';
  EXPECT_EQ(check(forged, "umc/modality"), "unauthenticated");
  EXPECT_FALSE(issue_join_token(*store, "a/b/c", ""));
  EXPECT_EQ(JoinToken::parse(node.text() + "\n")->secret, node.secret);
  EXPECT_FALSE(JoinToken::parse(node.text().substr(1)));
}

TEST(Tokens, NoSecretIsStored) {
  const auto store = store::make_memory_store();
  const auto token = issue_user_token(*store, "alice").value();
  const auto secret = token.substr(token.rfind('.') + 1);
  const auto listing = store->list("").value();
  ASSERT_EQ(listing.records.size(), 1u);
  for (const auto& record : listing.records) {
    EXPECT_EQ(record.spec.find(secret), std::string::npos);
  }
  const auto now = std::chrono::system_clock::now();
  EXPECT_EQ(check_user_token(*store, token, now).value().name, "alice");
  EXPECT_EQ(check_user_token(*store, token + "0", now).error().code, Code::unauthenticated);
  EXPECT_EQ(check_user_token(*store, "", now).error().code, Code::unauthenticated);
  const auto short_lived = issue_user_token(*store, "bob", 10s).value();
  EXPECT_EQ(check_user_token(*store, short_lived, now + 20s).error().code, Code::expired);
  const auto join = issue_join_token(*store, "*", std::string(64, 'a')).value();
  EXPECT_EQ(check_user_token(*store, "epif-user." + join.id + "." + join.secret, now).error().code, Code::unauthenticated);
}

TEST_F(PkiTest, WriteFileReplacesAtomicallyWithTheMode) {
  const auto path = folder + "/file";
  ASSERT_TRUE(write_file(path, "one", 0644));
  ASSERT_TRUE(write_file(path, "two", 0600));
  EXPECT_EQ(read_file(path).value(), "two");
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_FALSE(write_file(folder + "/none/file", "x", 0600));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST_F(PkiTest, WhatACrashLeftBesideAFileNeitherBlocksTheNextWriteNorStays) {
  const auto path = folder + "/file";
  std::ofstream(fmt::format("{}.new.{}", path, ::gettid())) << "half";
  const auto written = write_file(path, "whole", 0600);
  ASSERT_TRUE(written) << written.error().text();
  EXPECT_EQ(*read_file(path), "whole");
  std::ofstream(path + ".new.1") << "half";
  remove_unfinished(path);
  EXPECT_FALSE(std::filesystem::exists(path + ".new.1"));
  EXPECT_TRUE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace epif::api
