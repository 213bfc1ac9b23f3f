#include "bridge/hpke.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace epif::hpke {
namespace {

struct Vector {
  std::map<std::string, std::string> fields;
  std::vector<std::array<std::string, 4>> seals;  // sequence, aad, plain, sealed
  std::vector<std::pair<std::string, std::string>> exports;
  [[nodiscard]] Bytes at(const std::string& name) const { return from_hex(fields.at(name)); }
};

std::vector<Vector> read_vectors() {
  std::ifstream file("src/bridge/rfc9180_vectors.txt");
  std::vector<Vector> vectors;
  Vector current;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') {
      if (!current.fields.empty()) vectors.push_back(std::move(current));
      current = {};
      continue;
    }
    std::istringstream words(line);
    std::string name, a, b, c, d;
    words >> name >> a >> b >> c >> d;
    if (name == "ct") current.seals.push_back({a, b, c, d});
    else if (name == "exported") current.exports.emplace_back(a == "-" ? "" : a, b);
    else current.fields[name] = a;
  }
  if (!current.fields.empty()) vectors.push_back(std::move(current));
  return vectors;
}

PublicKey public_of(const Bytes& bytes) {
  PublicKey key{};
  std::copy(bytes.begin(), bytes.end(), key.begin());
  return key;
}

void expect_vector(const Vector& vector) {
  const bool authenticated = vector.fields.at("mode") == "2";
  const auto ephemeral = derive_key_pair(vector.at("ikmE"));
  const auto recipient = derive_key_pair(vector.at("ikmR"));
  ASSERT_TRUE(ephemeral && recipient);
  EXPECT_EQ(to_hex(ephemeral->secret.bytes()), vector.fields.at("skEm"));
  EXPECT_EQ(to_hex(recipient->public_key), vector.fields.at("pkRm"));
  EXPECT_EQ(to_hex(ephemeral->public_key), vector.fields.at("enc"));
  const auto sender = authenticated ? derive_key_pair(vector.at("ikmS")) : KeyPair::generate();
  ASSERT_TRUE(sender);
  const auto shared = encap_shared_secret(*ephemeral, recipient->public_key, authenticated ? &*sender : nullptr);
  ASSERT_TRUE(shared);
  EXPECT_EQ(to_hex(*shared), vector.fields.at("shared_secret"));
  const auto received =
      decap_shared_secret(public_of(vector.at("enc")), *recipient, authenticated ? &sender->public_key : nullptr);
  ASSERT_TRUE(received);
  EXPECT_EQ(*received, *shared);
  const auto aead = static_cast<Aead>(std::stoul(vector.fields.at("aead")));
  const auto context = key_schedule(authenticated ? Mode::auth : Mode::base, aead, *shared, vector.at("info"));
  EXPECT_EQ(to_hex(context.exporter_secret), vector.fields.at("exporter_secret"));
  for (const auto& [exporter, value] : vector.exports) EXPECT_EQ(to_hex(context.export_secret(from_hex(exporter), 32)), value);
  for (const auto& [sequence, aad, plain, sealed] : vector.seals) {
    const auto made = context.seal(std::stoull(sequence), from_hex(aad), from_hex(plain));
    ASSERT_TRUE(made);
    EXPECT_EQ(to_hex(*made), sealed);
    const auto opened = context.open(std::stoull(sequence), from_hex(aad), from_hex(sealed));
    ASSERT_TRUE(opened);
    EXPECT_EQ(to_hex(*opened), plain);
  }
}

TEST(Hpke, agrees_with_the_published_vectors) {
  const auto vectors = read_vectors();
  ASSERT_EQ(vectors.size(), 5u);  // A.1 base and auth, A.2 base and auth, A.7 auth
  for (const auto& vector : vectors) expect_vector(vector);
}

TEST(Hpke, both_proxies_get_the_same_key_and_nobody_else) {
  const auto near = KeyPair::generate();
  const auto far = KeyPair::generate();
  const auto stranger = KeyPair::generate();
  ASSERT_TRUE(near && far && stranger);
  const auto info = connection_info("f1", "umc/proxy", "research/proxy", "research");
  const auto sent = encapsulate(far->public_key, *near, info);
  ASSERT_TRUE(sent);
  const auto key = to_hex(sent->key.bytes());
  const auto key_of = [&](const KeyPair& to, const PublicKey& from, const Bytes& about) {
    const auto secret = decapsulate(sent->enc, to, from, about);
    return secret ? to_hex(secret->bytes()) : std::string("error");
  };
  EXPECT_EQ(key_of(*far, near->public_key, info), key);
  EXPECT_NE(key_of(*stranger, near->public_key, info), key) << "another recipient";
  EXPECT_NE(key_of(*far, stranger->public_key, info), key) << "another sender";
  EXPECT_NE(key_of(*far, near->public_key, connection_info("f1", "umc/proxy", "research/proxy", "treatment")), key) << "purpose";
  EXPECT_NE(key_of(*far, near->public_key, connection_info("f1u", "mc/proxy", "research/proxy", "research")), key) << "split";
}

TEST(Hpke, every_connection_has_its_own_key) {
  const auto near = KeyPair::generate();
  const auto far = KeyPair::generate();
  const auto first = encapsulate(far->public_key, *near, {});
  const auto second = encapsulate(far->public_key, *near, {});
  ASSERT_TRUE(first && second);
  EXPECT_NE(to_hex(first->key.bytes()), to_hex(second->key.bytes()));
  EXPECT_NE(first->enc, second->enc);
}

TEST(Hpke, a_public_key_of_small_order_is_refused) {
  const auto near = KeyPair::generate();
  ASSERT_TRUE(near);
  const auto sent = encapsulate(PublicKey{}, *near, {});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::protocol);
  EXPECT_FALSE(decapsulate(Bytes(31, 1), *near, near->public_key, {}));
}

TEST(Hpke, a_key_file_is_private_and_comes_back) {
  char folder[] = "/tmp/epif-hpke-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const auto file = std::filesystem::path(folder) / "proxy.key";
  const auto made = KeyPair::load_or_create(file);
  ASSERT_TRUE(made) << made.error().text();
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const auto again = KeyPair::load_or_create(file);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->public_text(), made->public_text());
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  const auto open_to_all = KeyPair::load(file);
  ASSERT_FALSE(open_to_all);
  EXPECT_EQ(open_to_all.error().code, Code::permission);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace epif::hpke
