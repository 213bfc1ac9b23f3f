#include "orchestrator/loop.h"

#include <gtest/gtest.h>

#include <thread>

#include "orchestrator/policies.h"
#include "orchestrator/sample.h"

namespace epif::orchestrator {
namespace {

/// A store whose every commit fails as SQLite does while another process holds the file. The first wait ends the test;
/// a loop that never waits runs into `patience`.
class HeldStore final : public store::Store {
 public:
  static constexpr int patience = 50;
  explicit HeldStore(store::Store& under) : under_(under) {}

  Result<store::Revision> commit(std::span<const store::Write>) override {
    if (++commits == patience) stop.request_stop();
    return fail(Code::conflict, "cannot use the store", "epif.db", "another process uses it");
  }
  store::Revision wait(store::Revision after, std::chrono::steady_clock::time_point deadline) override {
    waited = deadline > std::chrono::steady_clock::now() && after == under_.revision();
    stop.request_stop();
    return under_.revision();
  }
  Result<store::Record> get(std::string_view kind, std::string_view name) override { return under_.get(kind, name); }
  Result<store::Listing> list(std::string_view kind) override { return under_.list(kind); }
  Result<std::vector<store::Event>> events(std::string_view kind, store::Revision after, std::size_t limit) override {
    return under_.events(kind, after, limit);
  }
  store::Revision revision() override { return under_.revision(); }
  store::Subscription subscribe(std::function<void()> callback) override { return under_.subscribe(std::move(callback)); }
  Result<> compact(store::Revision until) override { return under_.compact(until); }
  Result<store::AuditLine> append_audit(std::string_view entry) override { return under_.append_audit(entry); }
  Result<std::vector<store::AuditLine>> audit(std::uint64_t after, std::size_t limit) override { return under_.audit(after, limit); }

  int commits = 0;
  bool waited = false;
  std::stop_source stop;

 private:
  store::Store& under_;
};

TEST(Loop, a_store_that_another_process_holds_is_waited_for_and_not_asked_without_end) {
  const auto memory = store::make_memory_store();
  sample::apply(*memory, sample::domains);
  HeldStore held(*memory);
  reconcile_until(held, cedar_policies(), held.stop.get_token());
  EXPECT_TRUE(held.waited);
  EXPECT_EQ(held.commits, 1);
}

}  // namespace
}  // namespace epif::orchestrator
