#include <fmt/format.h>

#include <cassert>

#include "base/limits.h"
#include "bridge/chain_state.h"

namespace epif::bridge {

Link::~Link() { forget(); }

void Link::forget() {
  if (control_ && conn_ != 0) control_->remove(conn_);
  control_.reset();
}

void Link::open(std::shared_ptr<Control> control, Open open) {
  control_ = std::move(control);
  conn_ = control_->add(*this);
  open.conn = conn_;
  control_->send(open);
}

void Link::start(Start start, Fd client, Fd server) {
  assert(accepted_ && !started_);
  started_ = true;
  start.conn = conn_;
  const int descriptors[] = {client.get(), server.get()};
  if (control_) control_->send(start, descriptors);
  if (may_release_) kept = {std::move(client), std::move(server)};
}

void Link::cut(const std::string& reason) {
  if (control_ && !report_ && !denial_) control_->send(Cut{conn_, reason.substr(0, limits::bf_text_max_bytes)});
}

void Link::on_failure(const Error& why) {
  forget();
  if (report_) return;  // it had done its part
  chain_.fail(why);
}

void Link::breach(const std::string& what) {
  const auto control = control_;  // fail() calls on_failure(), which lets go of it
  if (control) control->fail({Code::bf_failed, "bridging function broke its contract", description_.instance, what});
}

void Link::on_message(FromFunction message) {
  if (auto taken = take(message); !taken) return breach(taken.error().what);
  chain_.wake();
}

Result<> Link::take(FromFunction& message) {
  const auto refuse = [](const char* what) { return epif::fail(Code::protocol, what); };
  if (auto* accept = std::get_if<Accept>(&message)) {
    if (answered()) return refuse("answered `open` twice");
    accepted_ = true;
    may_release_ = accept->may_release;
    metadata_ = std::move(accept->metadata);
  } else if (auto* deny = std::get_if<Deny>(&message)) {
    if (answered()) return refuse("answered `open` twice");
    denial_ = std::move(deny->reason);
  } else if (auto* end = std::get_if<End>(&message)) {
    auto& ended = ended_[end->direction == Direction::to_server ? way_to_server : way_to_client];
    if (!started_ || ended || released_) return refuse("announced an end twice, or outside of a running connection");
    ended = end->bytes;
  } else if (auto* release = std::get_if<Release>(&message)) {
    if (!started_ || !may_release_ || released_) return refuse("released what it did not ask to release");
    released_ = *release;
    chain_.splice(*this);
  } else if (auto* report = std::get_if<Report>(&message)) {
    if (!answered() || report_) return refuse("reported twice, or before it answered `open`");
    report_ = std::move(*report);
  } else if (auto* cut = std::get_if<Cut>(&message)) {
    if (!answered()) return refuse("cut a connection before it answered `open`");
    chain_.fail({Code::bf_cut, "bridging function cut the flow", description_.instance, cut->reason});
  }
  return {};
}

FunctionReport Link::report() const {
  FunctionReport out{description_.function, description_.instance, 0, 0, "missing", {}, {}};
  if (denial_) out.verdict = "denied", out.note = *denial_;
  if (released_) out.verdict = "released";
  if (!report_) return out;
  out.bytes_to_server = report_->bytes_to_server;
  out.bytes_to_client = report_->bytes_to_client;
  out.verdict = report_->verdict;
  out.note = report_->note;
  out.detail = report_->detail;
  return out;
}

}  // namespace epif::bridge
