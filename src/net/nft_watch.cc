#include "net/nft_watch.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/netlink.h"
#include "net/task.h"

namespace epif::net {
namespace {

// The same number in the messages for tables, chains, rules, sets, objects and flowtables.
constexpr std::uint16_t table_name_attribute = NFTA_TABLE_NAME;
static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 && NFTA_SET_TABLE == 1);

constexpr int subsystem_of(std::uint16_t type) { return type >> 8; }
constexpr int message_of(std::uint16_t type) { return type & 0xff; }

Bytes with_zero(std::string_view text) {
  Bytes bytes(text.begin(), text.end());
  bytes.push_back(0);
  return bytes;
}

Result<std::uint64_t> number_of(Netlink& netlink, std::uint8_t family, std::string_view name) {
  const nfgenmsg head{family, NFNETLINK_V0, 0};
  std::array<std::uint8_t, sizeof head> raw;
  std::memcpy(raw.data(), &head, sizeof head);
  Bytes body(raw.begin(), raw.end());
  put_attribute(body, table_name_attribute, with_zero(name));
  std::uint64_t number = 0;
  const auto type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE);
  auto asked = netlink.ask(type, 0, body, [&](ByteSpan answer) {
    if (answer.size() < sizeof head) return;
    const auto found = find_attribute(answer.subspan(sizeof head), NFTA_TABLE_HANDLE);
    if (!found) return;
    for (const auto byte : *found) number = number << 8 | byte;  // network byte order
  });
  if (!asked && asked.error().code != Code::not_found) return fail(std::move(asked.error()));
  return number;
}

}  // namespace

Result<std::vector<std::uint64_t>> nft_table_numbers(std::string_view name) {
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return fail(std::move(netlink.error()));
  std::vector<std::uint64_t> numbers;
  for (const std::uint8_t family : {std::uint8_t{NFPROTO_INET}, std::uint8_t{NFPROTO_NETDEV}}) {
    auto number = number_of(*netlink, family, name);
    if (!number) return fail(std::move(number.error()));
    numbers.push_back(*number);
  }
  return numbers;
}

void NftNews::read(ByteSpan messages) {
  const bool fits = each_message(messages, [this](const NetlinkMessage& message) {
    note(message);
    return true;
  });
  if (!fits) lost();
}

void NftNews::note(const NetlinkMessage& message) {
  if (subsystem_of(message.type) != NFNL_SUBSYS_NFTABLES) return;
  const int what = message_of(message.type);
  if (what == NFT_MSG_NEWGEN) {  // the last one of a transaction
    if (replaced_ || touched_) news_ = std::max(news_, replaced_ ? Kind::look : Kind::changed);
    replaced_ = touched_ = false;
    return;
  }
  // The kernel itself, when a device goes: no transaction, and the guard of that device is gone with it.
  if (message.port == 0 || message.body.size() < sizeof(nfgenmsg)) return;
  const auto table = find_attribute(message.body.subspan(sizeof(nfgenmsg)), table_name_attribute);
  if (!table || !std::ranges::equal(*table, with_zero(table_))) return;
  (what == NFT_MSG_DELTABLE ? replaced_ : touched_) = true;
}

NftNews::Kind NftNews::take() { return std::exchange(news_, Kind::none); }

struct NftWatch::State {
  State(Loop& loop, Fd netlink, std::string table, OnChange callback)
      : socket(std::move(netlink)), interest(loop, socket.get()), news(std::move(table)), on_change(std::move(callback)) {}
  Fd socket;
  Interest interest;
  NftNews news;
  OnChange on_change;

  void drain() {
    bool torn = false;
    for (;;) {
      const auto buffer = interest.loop().scratch();
      const auto got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got > 0) news.read({reinterpret_cast<const std::uint8_t*>(buffer.data()), static_cast<std::size_t>(got)});
      else if (got < 0 && errno == ENOBUFS) torn = true;
      else break;
    }
    if (torn) news.lost();  // last: the transaction that was cut short has no end to come
    interest.drained_read();
  }

  static Task<void> run(std::shared_ptr<State> state) {
    for (;;) {
      auto ready = co_await state->interest.readable();
      if (!ready) co_return;
      state->drain();
      const auto kind = state->news.take();
      if (kind != NftNews::Kind::none && state->on_change) state->on_change(kind == NftNews::Kind::changed);
    }
  }
};

Result<std::unique_ptr<NftWatch>> NftWatch::start(Loop& loop, std::string table, OnChange on_change) {
  Fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  // Without a number of its own the socket would pass for the kernel, which does not tell itself.
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  sockaddr generic{};
  static_assert(sizeof address <= sizeof generic);
  std::memcpy(&generic, &address, sizeof address);
  const int group = NFNLGRP_NFTABLES;
  if (!netlink || ::bind(netlink.get(), &generic, sizeof address) != 0 ||
      ::setsockopt(netlink.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
    return fail(system_error(errno, "cannot watch the rules of this node"));
  }
  // Our own changes come all at once, while this thread makes them.
  const int room = 8 * 1024 * 1024;
  if (::setsockopt(netlink.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) {
    ::setsockopt(netlink.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);  // as much as is allowed
  }
  auto state = std::make_shared<State>(loop, std::move(netlink), std::move(table), std::move(on_change));
  spawn(State::run(state));
  return std::unique_ptr<NftWatch>(new NftWatch(std::move(state)));
}

NftWatch::~NftWatch() {
  state_->on_change = nullptr;
  state_->interest.fail(Error{Code::internal, "watch ended"});
}

}  // namespace epif::net
