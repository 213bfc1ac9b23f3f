#include "model/quantity.h"

#include <gtest/gtest.h>

namespace epif {
namespace {

using std::chrono::microseconds;

TEST(Duration, ReadsEveryUnit) {
  EXPECT_EQ(parse_duration("300ms"), microseconds(300'000));
  EXPECT_EQ(parse_duration("0.4s"), microseconds(400'000));
  EXPECT_EQ(parse_duration("250us"), microseconds(250));
  EXPECT_EQ(parse_duration("5m"), std::chrono::minutes(5));
  EXPECT_EQ(parse_duration("2h"), std::chrono::hours(2));
  EXPECT_EQ(parse_duration("1d"), std::chrono::days(1));
  EXPECT_EQ(parse_duration("0"), microseconds(0));
  EXPECT_EQ(parse_duration("0.0000005s"), microseconds(1));
  EXPECT_EQ(parse_duration("1.5d"), std::chrono::hours(36));
}

TEST(Duration, RefusesWhatIsNone) {
  for (const auto* text : {"", "5", "ms", "-5ms", "5 ms", "5sec", "1.2.3s", ".5s", "5.s", "1e3s", "5MS",
                           "99999999999999999999s", "20000d", "0x5s", "+5s"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Duration, PrintingIsShortAndReadsBack) {
  EXPECT_EQ(print_duration(microseconds(400'000)), "400ms");
  EXPECT_EQ(print_duration(std::chrono::minutes(120)), "2h");
  EXPECT_EQ(print_duration(microseconds(0)), "0s");
  for (const std::int64_t value : {1ll, 999ll, 1'000ll, 1'001ll, 60'000'000ll, 3'600'000'001ll, 86'400'000'000ll}) {
    EXPECT_EQ(parse_duration(print_duration(microseconds(value))), microseconds(value));
  }
}

TEST(Volume, ReadsBinaryAndDecimalUnits) {
  EXPECT_EQ(parse_volume("2GiB"), 2ull << 30);
  EXPECT_EQ(parse_volume("500MB"), 500'000'000ull);
  EXPECT_EQ(parse_volume("0.5TiB"), 1ull << 39);
  EXPECT_EQ(parse_volume("1024"), 1024ull);
  EXPECT_EQ(parse_volume("1024B"), 1024ull);
  EXPECT_EQ(parse_volume("1024PiB"), 1ull << 60);
}

TEST(Volume, RefusesWhatIsNone) {
  for (const auto* text : {"", "GiB", "-1GiB", "2gib", "2 GiB", "1025PiB", "1..5GiB", "18446744073709551616"}) {
    EXPECT_FALSE(parse_volume(text)) << text;
  }
}

TEST(Volume, PrintingReadsBack) {
  EXPECT_EQ(print_volume(2ull << 30), "2GiB");
  for (const std::uint64_t value : {0ull, 1ull, 1023ull, 1024ull, 500'000'000ull, 1ull << 40, (1ull << 40) + 1}) {
    EXPECT_EQ(parse_volume(print_volume(value)), value);
  }
}

TEST(Time, ReadsDatesAndInstants) {
  using namespace std::chrono;
  EXPECT_EQ(parse_time("2027-12-31"), sys_seconds(sys_days(2027y / 12 / 31)));
  EXPECT_EQ(parse_time("2028-02-29T23:59:59Z"), sys_days(2028y / 2 / 29) + 23h + 59min + 59s);
  for (const auto* text : {"", "2027-13-01", "2027-02-29", "2027-1-01", "2027-12-31T24:00:00Z", "2027-12-31T08:00:00",
                           "2027-12-31T08:00:00+01:00", "tomorrow", "2027/12/31", "2027-12-31 08:00:00Z"}) {
    EXPECT_FALSE(parse_time(text)) << text;
  }
}

TEST(Time, PrintingReadsBack) {
  for (const auto* text : {"2027-12-31", "2027-12-31T08:00:01Z", "1970-01-01"})
    EXPECT_EQ(print_time(*parse_time(text)), text);
}

}  // namespace
}  // namespace epif
