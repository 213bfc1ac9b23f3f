#include "admission/authentication.h"

#include <gtest/gtest.h>

namespace epif::admission {
namespace {

using socks6::Method;

struct World {
  World() { static_cast<void>(users.add("ann:secret")); }
  [[nodiscard]] Verdict ask(const socks6::RequestOptions& options, const std::optional<Dialogue>& dialogue = {}) {
    return authenticate(options, {password ? &users : nullptr, &sessions, identity, source, Dialect::draft, nullptr}, dialogue, now);
  }
  Users users{};
  ClientSessions sessions{{}};
  bool password = true;
  Identity identity{};
  IpAddress source = *IpAddress::parse("10.0.0.1");
  net::TimePoint now = net::TimePoint{} + std::chrono::hours(1000);
};

socks6::RequestOptions with_password(std::string_view password) {
  socks6::RequestOptions options;
  options.credentials = socks6::Credentials{"ann", password};
  return options;
}

const std::array<std::uint8_t, 2> password_method{2, 0};
const std::array<std::uint8_t, 2> gssapi_method{1, 0};

TEST(Authentication, PasswordsComeWithTheRequest) {
  World world;
  const auto right = world.ask(with_password("secret"));
  EXPECT_TRUE(right.reply.success && right.known);
  EXPECT_EQ(right.reply.credentials_status, 0);
  const auto wrong = world.ask(with_password("secreT"));
  EXPECT_FALSE(wrong.reply.success || wrong.ask);
  EXPECT_EQ(wrong.reply.credentials_status, 1);
  EXPECT_FALSE(wrong.reply.selection) << "nothing was advertised";
  EXPECT_FALSE(world.ask({}).reply.success);
}

TEST(Authentication, TheInteractivePhaseIsForTheMethodThatIsAdvertised) {
  World world;
  socks6::RequestOptions options;
  options.advertisement = socks6::MethodAdvertisement{0, password_method};
  const auto first = world.ask(options);
  EXPECT_TRUE(first.ask && !first.reply.success);
  EXPECT_EQ(first.reply.selection, Method::user_password);
  const auto accepted = world.ask(options, Dialogue{true, "ann"});
  EXPECT_TRUE(accepted.reply.success && accepted.known && !accepted.ask);
  const auto refused = world.ask(options, Dialogue{false, {}});
  EXPECT_FALSE(refused.reply.success || refused.ask || refused.reply.selection) << "at most two replies, the second is final";

  options.advertisement = socks6::MethodAdvertisement{0, gssapi_method};
  EXPECT_EQ(world.ask(options).reply.selection, Method::unacceptable);
  auto wrong = with_password("x");
  wrong.advertisement = socks6::MethodAdvertisement{0, password_method};
  EXPECT_EQ(world.ask(wrong).reply.selection, Method::unacceptable) << "no second try";
  world.password = false;
  EXPECT_FALSE(world.ask(options).reply.selection) << "an advertisement is ignored where nothing is wanted";
}

TEST(Authentication, ASessionRemembersItsUserAndIgnoresLaterPasswords) {
  World world;
  auto opening = with_password("secret");
  opening.session_request = true;
  const auto opened = world.ask(opening);
  ASSERT_EQ(opened.reply.session_id.size(), 16u);
  auto inside = with_password("wrong");
  inside.session_id = opened.reply.session_id;
  inside.session_request = true;
  const auto later = world.ask(inside);
  EXPECT_TRUE(later.reply.success && later.reply.session_ok && later.known);
  EXPECT_TRUE(later.reply.session_id.empty()) << "no session is opened inside of another";
  EXPECT_FALSE(later.reply.credentials_status);
  EXPECT_EQ(world.sessions.state().open, 1u);

  world.source = *IpAddress::parse("10.0.0.2");
  const auto stolen = world.ask(inside);
  EXPECT_TRUE(!stolen.reply.success && stolen.reply.session_invalid && !stolen.reply.selection);
}

TEST(Authentication, ATeardownIsPartOfNoSessionAndNeedsItsOwnPassword) {
  World world;
  auto opening = with_password("secret");
  opening.session_request = true;
  const auto opened = world.ask(opening);
  socks6::RequestOptions bare;
  bare.session_id = opened.reply.session_id;
  bare.session_teardown = true;
  EXPECT_FALSE(world.ask(bare).reply.success);
  EXPECT_EQ(world.sessions.state().open, 1u);
  auto torn = with_password("secret");
  torn.session_id = opened.reply.session_id;
  torn.session_teardown = true;
  const auto done = world.ask(torn);
  EXPECT_TRUE(done.reply.success && !done.reply.session_ok);
  EXPECT_EQ(world.sessions.state().open, 0u);
}

TEST(Authentication, TokensCountInsideOfSessionsOnly) {
  World world;
  world.password = false;
  socks6::RequestOptions options;
  options.idempotence_request = 32;
  options.token = 5;
  const auto outside = world.ask(options);
  EXPECT_TRUE(outside.reply.success && !outside.reply.window && !outside.reply.token_accepted);

  options.token.reset();
  options.session_request = true;
  const auto opened = world.ask(options);
  ASSERT_TRUE(opened.reply.window);
  EXPECT_EQ(opened.reply.window->size, 32u);
  socks6::RequestOptions spending;
  spending.session_id = opened.reply.session_id;
  spending.token = opened.reply.window->base;
  const auto spent = world.ask(spending);
  EXPECT_TRUE(spent.reply.success && spent.token_spent);
  EXPECT_EQ(spent.reply.token_accepted, true);
  EXPECT_EQ(spent.reply.window->base, opened.reply.window->base + 1);
  const auto again = world.ask(spending);
  EXPECT_FALSE(again.reply.success || again.token_spent || again.reply.session_ok);
  EXPECT_EQ(again.reply.token_accepted, false);
  EXPECT_EQ(world.sessions.state().tokens_rejected, 1u);
}

TEST(Authentication, WhenNoSessionIsLeftTheRequestIsServedWithoutOne) {
  World world;
  world.password = false;
  socks6::RequestOptions options;
  options.session_request = true;
  for (std::size_t i = 0; i < limits::sessions_per_owner; ++i) ASSERT_TRUE(world.ask(options).session);
  const auto silent = world.ask(options);
  EXPECT_TRUE(silent.reply.success && silent.reply.session_id.empty());
}

}  // namespace
}  // namespace epif::admission
