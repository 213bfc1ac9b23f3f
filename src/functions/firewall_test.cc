#include "functions/firewall.h"

#include <gtest/gtest.h>

#include "functions/first_bytes.h"

namespace epif::functions {
namespace {

using bridge::Open;

// PDU type 1, length 205, protocol version 1, called AE title.
const Bytes associate{0x01, 0x00, 0x00, 0x00, 0x00, 0xCD, 0x00, 0x01, 0x00, 0x00, 'P', 'A', 'C', 'S'};

Open open_to(std::string destination, bridge::TextMap parameters) {
  Open open;
  open.destination = std::move(destination);
  open.parameters = std::move(parameters);
  return open;
}

bool admits(std::string destination, std::string allow) {
  return open_firewall(open_to(std::move(destination), {{"allow", std::move(allow)}})).has_value();
}

TEST(Firewall, lets_only_listed_destinations_through) {
  EXPECT_TRUE(admits("10.2.0.10:4242", "10.2.0.10:4242"));
  EXPECT_TRUE(admits("10.2.0.10:4242", "10.9.0.0/16, 10.2.0.0/24:4000-5000"));
  EXPECT_FALSE(admits("10.2.0.10:80", "10.2.0.10:4242"));
  EXPECT_FALSE(admits("10.2.1.10:4242", "10.2.0.0/24"));
  EXPECT_TRUE(admits("[fd09::5]:80", "[fd09::5]:80"));
  EXPECT_TRUE(admits("PACS.example:4242", "pacs.example:4242"));
  EXPECT_FALSE(admits("evil.example:4242", "pacs.example:4242"));
  EXPECT_FALSE(admits("10.2.0.10:4242", "pacs.example:x")) << "a typo denies";
}

TEST(Firewall, names_its_wrong_parameters) {
  const auto made = open_firewall(open_to("10.2.0.10:4242", {{"protocol", "gopher"}}));
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().text().find("gopher"), std::string::npos);
}

struct Fed {
  bool cut = false;
  Bytes passed;
};
Fed feed(const std::string& protocol, const Bytes& first, std::size_t step, Direction direction = Direction::to_server) {
  auto made = open_firewall(open_to("10.2.0.10:4242", {{"protocol", protocol}}));
  EXPECT_TRUE(made);
  Fed fed;
  for (std::size_t at = 0; at < first.size(); at += step) {
    const auto in = ByteSpan(first).subspan(at, std::min(step, first.size() - at));
    Bytes out;
    const auto pass = (*made)->feed(direction, in, out);
    if (!pass) return fed.cut = true, fed;
    if (*pass == Pass::as_is) fed.passed.insert(fed.passed.end(), in.begin(), in.end());
    else fed.passed.insert(fed.passed.end(), out.begin(), out.end());
  }
  return fed;
}
Bytes text(std::string_view words) { return Bytes(words.begin(), words.end()); }

TEST(Firewall, judges_first_bytes_in_any_split) {
  for (const std::size_t step : {1ul, 2ul, 3ul, 5ul, 100ul}) {
    EXPECT_EQ(feed("dicom", associate, step).passed, associate);
    EXPECT_TRUE(feed("dicom", text("GET / HTTP/1.1\r\n"), step).cut);
    EXPECT_EQ(feed("http", text("OPTIONS * HTTP/1.1\r\n"), step).passed, text("OPTIONS * HTTP/1.1\r\n"));
    EXPECT_TRUE(feed("http", associate, step).cut);
    EXPECT_EQ(feed("ssh", text("SSH-2.0-x\r\n"), step).passed, text("SSH-2.0-x\r\n"));
    EXPECT_EQ(feed("tls", Bytes{0x16, 3, 1, 0, 0x20, 1, 0}, step).passed, (Bytes{0x16, 3, 1, 0, 0x20, 1, 0}));
    EXPECT_EQ(feed("mysql", Bytes{0x4a, 0, 0, 0, 0x0a, '5'}, step, Direction::to_client).passed.size(), 6u);
  }
}

TEST(Firewall, refuses_dicom_with_an_insane_length_or_version) {
  auto huge = associate;
  huge[2] = 0x7F;
  EXPECT_TRUE(feed("dicom", huge, 100).cut);
  auto old = associate;
  old[7] = 0;
  EXPECT_TRUE(feed("dicom", old, 100).cut);
}

TEST(Firewall, lets_the_server_speak_first) {
  for (const auto* protocol : {"any", "dicom", "http", "tls"})
    EXPECT_EQ(feed(protocol, text("220 hello\r\n"), 100, Direction::to_client).passed, text("220 hello\r\n"));
}

TEST(Firewall, holds_an_unfinished_start_and_cuts_it_at_its_end) {
  auto made = open_firewall(open_to("10.2.0.10:4242", {{"protocol", "dicom"}}));
  ASSERT_TRUE(made);
  Bytes out;
  EXPECT_FALSE((*made)->holding());
  ASSERT_TRUE((*made)->feed(Direction::to_server, ByteSpan(associate).first(5), out));
  EXPECT_TRUE((*made)->holding());
  EXPECT_TRUE(out.empty());
  EXPECT_FALSE((*made)->finish(Direction::to_server, out));
}

}  // namespace
}  // namespace epif::functions
