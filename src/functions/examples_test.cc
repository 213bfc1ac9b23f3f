// The example BFs of examples/bf keep the contract: bytes whole, ends proper, reports told.
#include <gtest/gtest.h>

#include <cstdlib>

#include "functions/chain_rig.h"

namespace epif::functions {
namespace {

TEST(Examples, the_c_function_passes_and_counts) {
  const TemporaryFolder folder;
  const auto program = folder.path() + "/count";
  ASSERT_EQ(std::system(("cc -O1 -Wall -Wextra -Wno-sign-compare -o " + program + " examples/bf/count.c").c_str()), 0);
  const FunctionProcess process(folder.path(), "count", [&](const std::string& socket) {
    ::setenv("EPIF_BF_SOCKET", socket.c_str(), 1);
    ::execl(program.c_str(), "count", nullptr);
  });
  for (const bool trusted : {false, true}) {
    auto link = process.link();
    link.peer_pid = 0;
    link.trusted = trusted;
    ChainRig::Options options;
    options.early_client = "one\n";
    ChainRig rig({link}, std::move(options));
    ASSERT_TRUE(write_all(rig.client(), "two\nthree\n"));
    end_writing(rig.client());
    EXPECT_EQ(read_all(rig.server()).bytes, "one\ntwo\nthree\n");
    ASSERT_TRUE(write_all(rig.server(), "answer\n"));
    end_writing(rig.server());
    const auto answer = read_all(rig.client());
    EXPECT_EQ(answer.bytes, "answer\n");
    EXPECT_EQ(answer.error, 0);
    const auto report = rig.report();
    EXPECT_FALSE(report.failure) << report.failure->text();
    EXPECT_EQ(report.functions[0].note, "3 lines up, 1 lines down");
  }
}

TEST(Examples, the_python_function_turns_to_upper_case) {
  const TemporaryFolder folder;
  const FunctionProcess process(folder.path(), "upper", [&](const std::string& socket) {
    ::setenv("EPIF_BF_SOCKET", socket.c_str(), 1);
    ::execl("/usr/bin/python3", "python3", "examples/bf/upper.py", nullptr);
  });
  ChainRig rig({process.link()}, {});
  ASSERT_TRUE(write_all(rig.client(), "quiet"));
  end_writing(rig.client());
  EXPECT_EQ(read_all(rig.server()).bytes, "QUIET");
  ASSERT_TRUE(write_all(rig.server(), "as it is"));
  end_writing(rig.server());
  const auto answer = read_all(rig.client());
  EXPECT_EQ(answer.bytes, "as it is");
  EXPECT_EQ(answer.error, 0);
  EXPECT_FALSE(rig.report().failure);
}

}  // namespace
}  // namespace epif::functions
