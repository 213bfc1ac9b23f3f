#include <algorithm>
#include <cstdlib>
#include <string>

#include "leak/rules.h"
#include "redirect/routes.h"

namespace {

using namespace epif;

void require(bool holds) {
  if (!holds) std::abort();
}

bool same(const leak::Guard& one, const leak::Guard& other) {
  return one.targets == other.targets && one.own == other.own && one.excluded == other.excluded && one.mark == other.mark;
}

}  // namespace

/// A listing of rules that others may have changed: what is read is in order and can be written, a rule that names no destination
/// changes nothing, and no further rule takes a protected destination away.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t most = 16 * 1024;
  if (size > most) return 0;
  const std::string text(as_text(ByteSpan(data, size)));
  const auto guard = leak::read_guard(15001, text);
  require(guard.listen_port == 15001);
  for (const auto* list : {&guard.targets, &guard.own, &guard.excluded}) {
    auto tidied = *list;
    redirect::tidy(tidied);
    require(tidied == *list);
    for (const auto& target : *list) {
      const auto again = CaptureTarget::parse(target.text());
      require(again && *again == target);
    }
  }
  require(same(guard, leak::read_guard(15001, text + "\n    counter drop\n")));
  const auto more = leak::read_guard(15001, text + "\n    ip daddr 192.0.2.1 tcp dport 7 redirect to :15001\n");
  const auto kept = [&](const CaptureTarget& target) { return std::ranges::find(more.targets, target) != more.targets.end(); };
  require(std::ranges::all_of(guard.targets, kept));
  require(kept(*CaptureTarget::parse("192.0.2.1:7")));
  return 0;
}
