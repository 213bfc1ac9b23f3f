#include "leak/rules.h"

#include <gtest/gtest.h>

namespace epif::leak {
namespace {

// As `nft list table` prints it.
constexpr std::string_view listing = R"(table inet epif_redirect_15001 {
	chain target0 {
		meta l4proto tcp counter packets 0 bytes 0 reject with tcp reset
		counter packets 0 bytes 0 drop
	}

	chain target1 {
		meta l4proto { tcp, udp, dccp, sctp, udplite } th dport != 80-90 return
		counter packets 0 bytes 0 drop
	}

	chain capture {
		type nat hook output priority dstnat; policy accept;
		meta mark 0x0000e91f ip daddr 10.3.0.30 tcp dport 1083 return
		ip daddr 10.8.0.0/16 return
		ip daddr 10.2.0.20 meta l4proto tcp redirect to :15001
		ip6 daddr fd02::20 tcp dport 80-90 redirect to :15001
	}

	chain guard_output {
		type filter hook output priority 2147483647; policy accept;
		oif "lo" ip daddr 127.0.0.1 tcp dport 15001 accept
		meta mark 0x0000e91f ip daddr 10.3.0.30 tcp dport 1083 accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 ip6 daddr { fe80::/10, ff02::/16 } accept
		ip daddr 10.8.0.0/16 accept
		ip6 daddr fd02::20 jump excluded_programs
		ip daddr 10.2.0.20 jump target0
		ip6 daddr fd02::20 jump target1
	}
}
)";

std::vector<std::string> texts(const std::vector<CaptureTarget>& targets) {
  std::vector<std::string> out;
  for (const auto& target : targets) out.push_back(target.text());
  return out;
}

TEST(Rules, TargetsProxiesAndExceptionsAreReadFromTheKernelsListing) {
  const auto guard = read_guard(15001, listing);
  EXPECT_EQ(texts(guard.targets), (std::vector<std::string>{"10.2.0.20/32", "[fd02::20/128]:80-90"}));
  EXPECT_EQ(texts(guard.own), (std::vector<std::string>{"10.3.0.30/32:1083"}));
  EXPECT_EQ(texts(guard.excluded), (std::vector<std::string>{"10.8.0.0/16"}));
  EXPECT_EQ(guard.mark, 0xe91fu);
}

TEST(Rules, ARemovedRuleDoesNotHideItsTarget) {
  std::string text(listing);
  const auto rule = text.find("\t\tip daddr 10.2.0.20 jump target0\n");
  text.erase(rule, text.find('\n', rule) + 1 - rule);
  EXPECT_EQ(texts(read_guard(15001, text).targets), (std::vector<std::string>{"10.2.0.20/32", "[fd02::20/128]:80-90"}));
}

TEST(Rules, AnEmptyTableProtectsNothing) { EXPECT_TRUE(read_guard(1, "table inet x {\n}\n").targets.empty()); }

}  // namespace
}  // namespace epif::leak
