#include "model/route.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/limits.h"

namespace epif {
namespace {

RouteTable full_table() {
  RouteTable table;
  table.node = "umc/umc-proxy";
  table.generation = 7;
  Route route;
  route.id = "stroke-imaging/send-images.1";
  route.flow = "stroke-imaging/send-images";
  route.peers = {"umc/modality", "umc/other"};
  route.peer_keys = {{"umc/modality", "BBBB"}};
  route.sources = {*Cidr::parse("10.1.0.0/16"), *Cidr::parse("fd09::/64")};
  route.destination = *CaptureTarget::parse("10.2.0.10:4242");
  route.name = "pacs.research.example";
  route.data = DataDirection::push;
  route.chain = {{"firewall", "epif-firewall-1", "/run/epif/bf/firewall/bf.sock", 4711, true, "", {{"allow", "dicom"}}},
                 {"encrypt", "epif-encrypt-1", "/run/epif/bf/encrypt/bf.sock", 0, false, "encrypt", {}}};
  route.next = NextHop{*SocketAddress::parse("[fd09::2]:1083"), "research/research-proxy", "AAAA"};
  route.purpose = "research";
  route.policy = "research-needs-consent";
  route.policy_version = "12";
  route.limits = {1048576, 64, 3600};
  route.expires = std::chrono::sys_seconds(std::chrono::seconds(1'800'000'000));
  route.replay_safe = true;
  route.preconnect = 2;
  route.blocked = "a \"quoted\" reason\nwith a line break";
  table.routes.push_back(route);
  Route small;
  small.id = "b";
  small.destination = *CaptureTarget::parse("0.0.0.0/0");
  small.protocol = Protocol::udp;
  small.selector = {{"alice", "1000"}, {"system.slice/app.service"}};
  table.routes.push_back(small);
  Route by_nginx;
  by_nginx.id = "c";
  by_nginx.peers = {"umc/modality"};
  by_nginx.destination = *CaptureTarget::parse("[fd02::10]:80");
  by_nginx.nginx = NginxPort{*SocketAddress::parse("[fd01::2]:21000"), {*IpAddress::parse("fd01::10")}, true};
  table.routes.push_back(by_nginx);
  Route others;
  others.id = "d";
  others.destination = *CaptureTarget::parse("10.4.0.1");
  others.next = NextHop{*SocketAddress::parse("10.4.0.2:1080"), "", "", Dialect::socksx};
  table.routes.push_back(others);
  Route listens;
  listens.id = "e";
  listens.destination = *CaptureTarget::parse("10.5.0.1");
  listens.bind = true;
  table.routes.push_back(listens);
  table.refusals.push_back(
      {*CaptureTarget::parse("10.3.0.0/16:80-90"), "stroke-imaging/backup", "unfeasible: anonymisation"});
  return table;
}

Error error_of(std::string_view text) {
  const auto table = parse_routes(text);
  EXPECT_FALSE(table) << text;
  return table ? Error{} : table.error();
}

TEST(Routes, DatagramsHaveNoChain) {
  const auto error = error_of(
      R"({"routes": [{"id": "a", "destination": "10.2.0.10:53", "protocol": "udp", "chain": [{"function": "f", "socket": "/s"}]}]})");
  EXPECT_NE(error.text().find("a udp route has a chain"), std::string::npos) << error.text();
  EXPECT_EQ(error_of(R"({"routes": [{"id": "a", "destination": "10.2.0.10:53", "protocol": "sctp"}]})").code, Code::invalid_input);
}

TEST(Routes, NginxCarriesTcpToOneAddressAndPortAndNothingElse) {
  const auto with = [](std::string_view destination, std::string_view more, std::string_view listen = "10.1.0.2:21000",
                       std::string_view client = "10.1.0.10") {
    return fmt::format(R"({{"routes": [{{"id": "a", "destination": "{}", "nginx": {{"listen": "{}", "clients": ["{}"]}}{}}}]}})",
                       destination, listen, client, more);
  };
  EXPECT_TRUE(parse_routes(with("10.2.0.10:80", "")));
  for (const auto* destination : {"10.2.0.10", "10.2.0.0/24:80", "10.2.0.10:80-81"}) {
    EXPECT_NE(error_of(with(destination, "")).text().find("one address and one port"), std::string::npos) << destination;
  }
  for (const auto* more : {R"(, "next": {"proxy": "10.1.0.2:1083"})", R"(, "protocol": "udp")", R"(, "selector": {"users": ["a"]})",
                           R"(, "chain": [{"function": "f", "socket": "/s"}])", R"(, "bind": true)"}) {
    EXPECT_NE(error_of(with("10.2.0.10:80", more)).text().find("without chain, next, bind or selector"), std::string::npos) << more;
  }
  EXPECT_NE(error_of(with("[fd02::10]:80", "")).text().find("different families"), std::string::npos);
  EXPECT_NE(error_of(with("10.2.0.10:80", "", "10.1.0.2:21000", "fd01::10")).text().find("different families"), std::string::npos);
  EXPECT_NE(error_of(with("10.2.0.10:80", "", "10.1.0.2:0")).text().find("port 0"), std::string::npos);
}

TEST(Routes, PrintingAndReadingGivesTheSameTable) {
  const auto table = full_table();
  const auto text = print_routes(table);
  const auto read = parse_routes(text);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, table);
  EXPECT_EQ(print_routes(*read), text);
  EXPECT_TRUE(text.ends_with("}\n"));
}

TEST(Routes, AnEmptyTableIsATable) {
  const auto read = parse_routes(R"({"routes": []})");
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, RouteTable{});
  EXPECT_EQ(print_routes({}), "{\"routes\": []}\n");
}

TEST(Routes, SyntaxErrorsNameLineAndColumn) {
  EXPECT_EQ(error_of("{\n  \"routes\": [}\n}").where, "routes.json:2:14");
  EXPECT_EQ(error_of("{\"routes\": []} x").where, "routes.json:1:16");
  EXPECT_TRUE(error_of("{\n\"routes\": [").where.starts_with("routes.json:2:"));
  EXPECT_TRUE(error_of("").where.starts_with("routes.json:1:"));
  EXPECT_EQ(error_of("{'routes': []}").code, Code::invalid_input);
}

TEST(Routes, ContentErrorsNameLineAndPath) {
  struct Case {
    std::string text;
    std::string words;
  };
  const std::vector<Case> cases{
      {R"([])", "routes.json:1: the document: a map is wanted"},
      {R"({})", "routes is missing"},
      {"{\"routes\": [\n{\"id\": \"a\"}]}", "routes.json:2: routes[0].destination is missing"},
      {R"({"routes": [{"destination": "1.2.3.4"}]})", "routes[0].id is missing"},
      {R"({"routes": [{"id": 5, "destination": "1.2.3.4"}]})", "routes[0].id: text is wanted"},
      {R"({"routes": [{"id": "a b", "destination": "1.2.3.4"}]})", "routes[0].id: 'a b' is not a flow id"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3"}]})", "routes[0].destination: '1.2.3' is not an IPv4"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "next": {}}]})", "routes[0].next.proxy is missing"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "data": "up"}]})", "routes[0].data: 'up' is none of push"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "preconnect": -1}]})", "routes[0].preconnect: a whole number"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "preconnect": 65}]})", "routes[0].preconnect"},
      {R"({"routes": [{"id": "a", "destination": "10.0.0.0/8:80", "preconnect": 1}]})", "routes[0].preconnect: preconnect wants"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4:80-81", "preconnect": 1}]})", "routes[0].preconnect: preconnect wants"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "replay_safe": "true"}]})", "true or false is wanted"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "extra": 1}]})", "routes[0].extra is not a known field"},
      {R"({"routes": [{"id": "a", "id": "b", "destination": "1.2.3.4"}]})", "field 'id' stands twice"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "sources": ["10.0.0.1/8"]}]})", "routes[0].sources[0]"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "chain": [{"function": "f"}]}]})", "chain[0].socket is missing"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "chain": [{"function": "f", "socket": "x"}]}]})",
       "begins with '/'"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "expires": "soon"}]})",
       "routes[0].expires: 'soon' is not a time"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "bind": true, "next": {"proxy": "1.2.3.5:1", "dialect": "socksx"}}]})",
       "routes[0].bind: a route with bind leads to a proxy of the socksx"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "bind": true, "protocol": "udp"}]})", "routes[0].bind: a route with bind is udp"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "next": {"proxy": "1.2.3.5:1", "dialect": "x"}}]})", "'x' is none of draft"},
      {R"({"routes": [{"id": "a", "destination": "1.2.3.4", "protocol": "udp", "next": {"proxy": "1.2.3.5:1", "dialect": "socksx"}}]})",
       "routes[0].next: a udp route leads to"},
      {R"({"routes": [], "refusals": [{"destination": "1.2.3.4"}]})", "refusals[0].reason is missing"},
  };
  for (const auto& [text, words] : cases) {
    EXPECT_NE(error_of(text).text().find(words), std::string::npos) << text << "\n" << error_of(text).text();
  }
}

TEST(Routes, DuplicateIdsAreRefused) {
  const auto text = R"({"routes": [{"id": "a", "destination": "1.2.3.4"}, {"id": "a", "destination": "1.2.3.5"}]})";
  EXPECT_NE(error_of(text).text().find("routes[1]: id 'a' is taken"), std::string::npos) << error_of(text).text();
}

TEST(Routes, AChainBeyondTheLimitIsRefused) {
  auto table = full_table();
  table.routes[0].chain.resize(limits::chain_max_functions, {"f", "", "/s", 0, false, "", {}});
  EXPECT_TRUE(parse_routes(print_routes(table)));
  table.routes[0].chain.push_back({"f", "", "/s", 0, false, "", {}});
  EXPECT_NE(error_of(print_routes(table)).text().find("routes[0].chain: the chain has 17 functions"), std::string::npos);
}

TEST(Routes, DeepNestingIsRefusedAndNotFollowed) {
  const std::string deep(100'000, '[');
  EXPECT_EQ(error_of(deep).code, Code::invalid_input);
}

TEST(Routes, EveryFieldStandsInTheSchema) {
  std::ifstream file("docs/routes.schema.json");
  std::stringstream schema;
  schema << file.rdbuf();
  ASSERT_FALSE(schema.str().empty());
  std::string key;
  bool inside = false;
  const auto text = print_routes(full_table());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '"' || (at > 0 && text[at - 1] == '\\')) {
      if (inside) key += text[at];
      continue;
    }
    inside = !inside;
    if (inside) {
      key.clear();
    } else if (text[at + 1] == ':' && key != "allow" && !key.starts_with("umc/")) {  // keys that the table itself makes up
      EXPECT_NE(schema.str().find("\"" + key + "\""), std::string::npos) << key;
    }
  }
}

}  // namespace
}  // namespace epif
