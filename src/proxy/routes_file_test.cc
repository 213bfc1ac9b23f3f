#include "proxy/routes_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

namespace epif::proxy {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view granted =
    R"({"generation": 1, "routes": [{"id": "a", "sources": ["127.0.0.0/8"], "destination": "127.0.0.1:9"}]})";
constexpr std::string_view from_the_future =
    R"({"generation": 2, "routes": [{"id": "a", "sources": ["127.0.0.0/8"], "destination": "127.0.0.1:9", "not_on_holidays": true}]})";

struct WatchedRoutes : testing::Test {
  std::filesystem::path folder = [] {
    char name[] = "/tmp/epif-routes-XXXXXX";
    return std::filesystem::path(::mkdtemp(name));
  }();
  std::filesystem::path file = folder / "routes.json";
  std::unique_ptr<net::Loop> loop = std::move(*net::Loop::make());
  std::vector<std::size_t> told;  ///< routes of each table that was told
  std::unique_ptr<RoutesFile> routes;

  void SetUp() override {
    write(granted);
    auto opened = RoutesFile::open(*loop, file, [this](const std::shared_ptr<const Routing>& table) {
      told.push_back(table->table().routes.size());
    });
    ASSERT_TRUE(opened) << opened.error().text();
    routes = std::move(*opened);
    told.clear();
  }
  void TearDown() override {
    routes.reset();
    loop->run_once(milliseconds(0));
    std::filesystem::remove_all(folder);
  }
  void write(std::string_view text, const char* name = "routes.json") const {
    std::ofstream(folder / "new") << text;
    std::filesystem::rename(folder / "new", folder / name);
  }
  /// Runs the loop until `holds`, for five seconds at most.
  bool until(const std::function<bool()>& holds) const {
    const auto end = net::Clock::now() + std::chrono::seconds(5);
    while (!holds() && net::Clock::now() < end) loop->run_once(milliseconds(20));
    return holds();
  }
  bool refused(std::uint64_t times) const {
    return until([&] { return routes->state().failed_reloads >= times; });
  }
};

TEST_F(WatchedRoutes, a_serving_process_keeps_its_table_when_a_newer_one_has_a_field_that_it_does_not_know) {
  write(from_the_future);
  ASSERT_TRUE(refused(1));
  EXPECT_NE(routes->state().last_error.find("not_on_holidays"), std::string::npos) << routes->state().last_error;
  EXPECT_EQ(routes->routing()->table().routes.size(), 1u);
  EXPECT_TRUE(told.empty());
}

TEST_F(WatchedRoutes, a_draining_one_permits_nothing_once_its_patience_is_over_and_takes_what_it_can_read_again) {
  routes->fail_closed_after(milliseconds(300));
  EXPECT_FALSE(until([&] { return !told.empty() || routes->state().failed_reloads > 0; })) << "a good table was given up";
  write(from_the_future);
  ASSERT_TRUE(refused(1));
  EXPECT_TRUE(told.empty()) << "no patience";
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  EXPECT_EQ(told, std::vector<std::size_t>{0});
  write(granted);
  ASSERT_TRUE(until([&] { return told.size() > 1; })) << "the file that is put right is not taken";
  EXPECT_EQ(told.back(), 1u);
}

TEST_F(WatchedRoutes, what_was_unreadable_before_it_drains_counts_as_well) {
  write(from_the_future);
  ASSERT_TRUE(refused(1));
  routes->fail_closed_after(milliseconds(50));
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  EXPECT_EQ(told, std::vector<std::size_t>{0});
}

TEST_F(WatchedRoutes, a_file_that_is_put_right_in_time_costs_nothing) {
  routes->fail_closed_after(milliseconds(400));
  write("{");
  ASSERT_TRUE(refused(1));
  const auto reloads = routes->state().reloads;
  write(granted);
  ASSERT_TRUE(until([&] { return routes->state().reloads > reloads; }));
  const auto end = net::Clock::now() + milliseconds(600);
  until([&] { return net::Clock::now() >= end; });
  EXPECT_TRUE(told.empty());
}

TEST_F(WatchedRoutes, another_file_is_followed_though_it_cannot_be_read_yet) {
  routes->fail_closed_after(milliseconds(300));
  write(from_the_future, "successors.json");
  routes->follow(folder / "successors.json");
  EXPECT_EQ(routes->state().failed_reloads, 1u);
  write(R"({"generation": 3, "routes": []})");
  EXPECT_EQ(routes->file(), folder / "successors.json");
  write(R"({"generation": 4, "routes": []})", "successors.json");
  ASSERT_TRUE(until([&] { return routes->state().generation == 4; }));
  EXPECT_EQ(told, std::vector<std::size_t>{0});
}

}  // namespace
}  // namespace epif::proxy
