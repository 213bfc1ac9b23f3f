#include "redirect/forwarded_handover.h"

#include "net/told_limits.h"

namespace epif::redirect {
namespace {

constexpr std::string_view all_told_words = "limits told";

struct Named {
  std::string_view name;
  net::Limiter Forwarded::*limiter;
};
constexpr std::array<Named, forwarded_limiters> all{{{"connections", &Forwarded::connections},
                                                     {"dns_queries", &Forwarded::questions}}};

}  // namespace

void ForwardedTelling::await(net::Handover& handover) {
  handover_ = &handover;
  asks_until_ = net::Clock::now() + std::chrono::milliseconds(limits::handover_ask_ms);
}

void ForwardedTelling::heard(std::string_view words) {
  if (words != ask_limits_words || handover_ == nullptr || asked_) return;
  asked_ = true;
  begin();
}

void ForwardedTelling::end() {
  handover_ = nullptr;
  untold_.clear();
  look_.cancel();
}

bool ForwardedTelling::is_due() const {
  if (handover_ == nullptr) return false;
  return asked_ ? !told_ : net::Clock::now() < asks_until_;
}

void ForwardedTelling::begin() {
  const auto now = net::Clock::now();
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto& limiter = forwarded_.*all[i].limiter;
    last_told_[i] = limiter.held(now);
    for (auto& text : net::print_rates(all[i].name, limiter.rates(now))) untold_.push_back(std::move(text));
    for (auto& text : net::print_counts(all[i].name, last_told_[i])) untold_.push_back(std::move(text));
  }
  untold_.emplace_back(all_told_words);
  look();
}

/// What ends here makes room there.
void ForwardedTelling::look() {
  look_ = loop_.after(std::chrono::milliseconds(limits::handover_look_ms), [this] { look(); });
  // One after the other: a successor that does not read must not cost memory.
  for (std::size_t i = 0; untold_.empty() && i < all.size(); ++i) {
    auto now = (forwarded_.*all[i].limiter).held();
    if (now == last_told_[i]) continue;
    for (auto& text : net::print_counts(all[i].name, net::changes(last_told_[i], now))) untold_.push_back(std::move(text));
    last_told_[i] = std::move(now);
  }
  while (!untold_.empty() && handover_->tell(untold_.front())) untold_.pop_front();
  told_ = told_ || untold_.empty();
}

Result<> ForwardedHearing::take(std::string_view message) {
  if (message == all_told_words) {
    told_ = true;
    return {};
  }
  auto parsed = net::parse_limits(message);
  if (!parsed) return fail(std::move(parsed.error()));
  const auto of = std::visit([](const auto& one) -> std::string_view { return one.of; }, *parsed);
  const auto* found = std::ranges::find(all, of, &Named::name);
  // A later version may count more.
  if (found == all.end()) return {};
  auto& limiter = forwarded_.*found->limiter;
  if (const auto* counts = std::get_if<net::ToldCounts>(&*parsed)) return limiter.count_elsewhere(counts->held);
  return limiter.follow_rates(std::get<net::ToldRates>(*parsed).rates);
}

void ForwardedHearing::forget() {
  for (const auto& one : all) (forwarded_.*one.limiter).forget_elsewhere();
}

}  // namespace epif::redirect
