#include "proxy/moved_flow.h"

#include <boost/json.hpp>

#include "net/stream.h"
#include "net/unix_socket.h"

namespace epif::proxy {
namespace {

namespace json = boost::json;

// Each message has one of these as its only outer key, but for the last ones, which say only that they are it.
constexpr std::string_view control_key = "control";
constexpr std::string_view flow_key = "flow";
constexpr std::string_view more_key = "descriptors";
constexpr std::string_view end_key = "departed";

constexpr std::size_t descriptors_most = 4 * limits::chain_max_functions + 2;

/// The last message of a thread's flows, whatever else is wrong with it.
bool is_last(std::string_view text) { return text.starts_with("{\"departed\""); }

std::vector<Fd> take_descriptors(bridge::MovedChain& chain) {
  std::vector<Fd> all;
  const auto take = [&](Fd& one) { all.push_back(std::move(one)); };
  std::ranges::for_each(chain.peers, take);
  std::ranges::for_each(chain.joints, take);
  for (auto& link : chain.links)
    if (link.may_release) std::ranges::for_each(link.kept, take);
  return all;
}

std::size_t descriptors_of(const bridge::MovedChain& chain) {
  const auto releasing = static_cast<std::size_t>(std::ranges::count_if(chain.links, &bridge::MovedLink::may_release));
  return chain.peers.size() + 2 * (chain.links.size() - 1) + 2 * releasing;
}

void give_descriptors(bridge::MovedChain& chain, std::vector<Fd> all) {
  auto next = all.begin();
  for (auto& one : chain.peers) one = std::move(*next++);
  for (std::size_t i = 0; i < 2 * (chain.links.size() - 1); ++i) chain.joints.push_back(std::move(*next++));
  for (auto& link : chain.links)
    if (link.may_release)
      for (auto& one : link.kept) one = std::move(*next++);
}

json::value count_or_null(const std::optional<std::uint64_t>& count) { return count ? json::value(*count) : json::value(nullptr); }

template <class Values>
json::array array_of(const Values& values) {
  return json::array(values.begin(), values.end());
}

json::object object_of(const bridge::MovedChain& chain) {
  json::array links;
  for (const auto& link : chain.links) {
    links.push_back(json::object{{"control", link.control},
                                 {"conn", link.conn},
                                 {"may_release", link.may_release},
                                 {"ended", json::array{count_or_null(link.ended[0]), count_or_null(link.ended[1])}}});
  }
  return {{"links", std::move(links)},
          {"early", array_of(chain.early)},
          {"read", array_of(chain.read)},
          {"written", array_of(chain.written)},
          {"passed", array_of(chain.passed)},
          {"limit_bytes", json::array{count_or_null(chain.limits.from_client_bytes), count_or_null(chain.limits.from_server_bytes)}},
          {"idle_s", chain.limits.idle_s},
          {"half_closed_s", chain.limits.half_closed_s}};
}

json::object object_of(const MovedFlow& flow) {
  json::object made{{"route", print_routes({.node = {}, .generation = 0, .routes = {flow.route}, .refusals = {}})},
                    {"peer", flow.peer.text()},
                    {"identity", flow.identity},
                    {"target", flow.target.text()},
                    {"age_ms", flow.age_ms},
                    {"chain", object_of(flow.chain)}};
  if (flow.wish) made["wish"] = json::object{{"bind", flow.wish->bind}, {"host", flow.wish->host ? flow.wish->host->text() : ""}};
  return made;
}

/// Reads the fields of an object; what is wrong once stays wrong.
class Reader {
 public:
  explicit Reader(const json::value* value) : object_(value != nullptr ? value->if_object() : nullptr), good_(object_ != nullptr) {}
  template <class T>
  T get(std::string_view key) {
    const auto* value = find(key);
    if (value == nullptr) return {};
    auto got = json::try_value_to<T>(*value);
    if (!got) good_ = false;
    return got ? std::move(*got) : T{};
  }
  std::uint64_t count(std::string_view key) { return count_of(find(key)); }
  /// A pair of counts, each of which may be null where `absent` has room for that.
  template <class T>
  std::array<T, 2> counts(std::string_view key) {
    const auto* value = find(key);
    const auto* pair = value != nullptr ? value->if_array() : nullptr;
    if (pair == nullptr || pair->size() != 2) return good_ = false, std::array<T, 2>{};
    std::array<T, 2> made{};
    for (std::size_t i = 0; i < 2; ++i) {
      const bool absent = std::is_same_v<T, std::optional<std::uint64_t>> && (*pair)[i].is_null();
      if (!absent) made[i] = count_of(&(*pair)[i]);
    }
    return made;
  }
  /// What `parse` makes of a text.
  template <class Parse>
  auto parsed(std::string_view key, Parse parse) {
    auto made = parse(get<std::string>(key));
    if (!made) good_ = false;
    return made ? std::move(*made) : std::remove_cvref_t<decltype(*made)>{};
  }
  const json::value* find(std::string_view key) {
    const auto* value = object_ != nullptr ? object_->if_contains(key) : nullptr;
    if (value == nullptr) good_ = false;
    return value;
  }
  [[nodiscard]] const json::value* may_have(std::string_view key) const { return object_ != nullptr ? object_->if_contains(key) : nullptr; }
  void check(bool holds) { good_ = good_ && holds; }
  [[nodiscard]] bool good() const { return good_; }

 private:
  std::uint64_t count_of(const json::value* value) {
    if (value != nullptr && value->is_uint64()) return value->get_uint64();
    if (value != nullptr && value->is_int64() && value->get_int64() >= 0) return static_cast<std::uint64_t>(value->get_int64());
    good_ = false;
    return 0;
  }
  const json::object* object_;
  bool good_;
};

std::optional<bridge::MovedControl> read_control(const json::value& value) {
  Reader reader(&value);
  bridge::MovedControl made{reader.get<std::string>("instance"), reader.count("next_conn"), reader.count("received"), {}};
  if (!reader.good()) return std::nullopt;
  return made;
}

std::optional<bridge::MovedChain> read_chain(const json::value* value) {
  Reader reader(value);
  bridge::MovedChain made;
  const auto* links = reader.find("links");
  const auto* list = links != nullptr ? links->if_array() : nullptr;
  if (list == nullptr || list->empty() || list->size() > limits::chain_max_functions) return std::nullopt;
  for (const auto& one : *list) {
    Reader of_link(&one);
    bridge::MovedLink link;
    link.control = of_link.count("control");
    link.conn = of_link.count("conn");
    link.may_release = of_link.get<bool>("may_release");
    link.ended = of_link.counts<std::optional<std::uint64_t>>("ended");
    reader.check(of_link.good());
    made.links.push_back(std::move(link));
  }
  made.early = reader.counts<std::uint64_t>("early");
  made.read = reader.counts<std::uint64_t>("read");
  made.written = reader.counts<std::uint64_t>("written");
  made.passed = reader.get<std::array<bool, 2>>("passed");
  const auto most = reader.counts<std::optional<std::uint64_t>>("limit_bytes");
  made.limits = {most[0], most[1], reader.get<std::uint32_t>("idle_s"), reader.get<std::uint32_t>("half_closed_s")};
  if (!reader.good()) return std::nullopt;
  return made;
}

std::optional<MovedFlow> read_flow(const json::value& value) {
  Reader reader(&value);
  auto table = reader.parsed("route", [](const std::string& text) { return parse_routes(text, "a moved flow's route"); });
  reader.check(table.routes.size() == 1);
  MovedFlow made;
  made.peer = reader.parsed("peer", SocketAddress::parse);
  made.identity = reader.get<std::string>("identity");
  made.target = reader.parsed("target", Destination::parse);
  made.age_ms = reader.count("age_ms");
  auto chain = read_chain(reader.find("chain"));
  reader.check(chain && !table.routes.empty() && chain->links.size() == table.routes.front().chain.size());
  if (const auto* wish = reader.may_have("wish")) {
    Reader of_wish(wish);
    made.wish = Wish{of_wish.get<bool>("bind"), {}};
    if (!of_wish.get<std::string>("host").empty()) made.wish->host = of_wish.parsed("host", Destination::parse);
    reader.check(of_wish.good());
  }
  if (!reader.good()) return std::nullopt;
  made.route = std::move(table.routes.front());
  made.chain = std::move(*chain);
  return made;
}

}  // namespace

void reset_all(const std::vector<Fd>& descriptors) {
  for (const auto& one : descriptors) net::reset_socket(one.get());
}

std::vector<Parcel> pack(MovedFlows moved) {
  std::vector<Parcel> parcels;
  const auto add = [&](std::string_view key, json::value value) -> Parcel& {
    return parcels.emplace_back(json::serialize(json::object{{key, std::move(value)}}), std::vector<Fd>());
  };
  for (auto& control : moved.controls) {
    auto& parcel = add(control_key, json::object{{"instance", control.instance}, {"next_conn", control.next_conn}, {"received", control.received}});
    parcel.descriptors.push_back(std::move(control.socket));
  }
  for (auto& flow : moved.flows) {
    add(flow_key, object_of(flow));
    for (auto& one : take_descriptors(flow.chain)) {
      if (parcels.back().descriptors.size() == net::descriptors_in_message) add(more_key, true);
      parcels.back().descriptors.push_back(std::move(one));
    }
  }
  add(end_key, moved.thread);
  return parcels;
}

Result<std::optional<MovedFlows>> Unpacking::take(std::string_view text, std::vector<Fd> descriptors) {
  if (spoiled_) {
    reset_all(descriptors);
    if (is_last(text)) spoiled_ = false;
    return std::nullopt;
  }
  auto whole = read(text, descriptors);
  if (!whole) {
    reset_all(descriptors);
    spoil();
    if (is_last(text)) spoiled_ = false;
    return fail(std::move(whole.error()));
  }
  if (!*whole) return std::nullopt;
  return std::exchange(moved_, {});
}

void Unpacking::spoil() {
  drop();
  spoiled_ = true;
}

void Unpacking::drop() {
  for (auto& flow : moved_.flows) reset_all(take_descriptors(flow.chain));
  for (const auto& control : moved_.controls) net::reset_socket(control.socket.get());
  reset_all(descriptors_);
  moved_ = {};
  flow_.reset();
  descriptors_.clear();
}

Result<bool> Unpacking::read(std::string_view text, std::vector<Fd>& descriptors) {
  const auto broken = [&](std::string_view what) { return fail(Code::protocol, "a flow that moves here is not understood", std::string(what)); };
  boost::system::error_code error;
  const auto value = json::parse(text, error, {}, {.max_depth = 8});
  const auto* object = error ? nullptr : value.if_object();
  if (object == nullptr || object->size() != 1) return broken("no object of one field");
  const std::string_view key = object->begin()->key();
  const auto& inner = object->begin()->value();
  if (flow_.has_value() != (key == more_key)) return broken("its descriptors do not follow it");
  if (key == end_key) {
    const auto thread = json::try_value_to<std::uint16_t>(inner);
    if (!thread || !descriptors.empty()) return broken(key);
    moved_.thread = *thread;
    return true;
  }
  if (key == control_key) {
    auto control = read_control(inner);
    if (!control || descriptors.size() != 1) return broken(key);
    control->socket = std::move(descriptors.front());
    moved_.controls.push_back(std::move(*control));
    return false;
  }
  if (key == flow_key) {
    flow_ = read_flow(inner);
    if (!flow_) return broken(key);
  } else if (key != more_key || descriptors.empty()) {
    return broken(key);
  }
  std::ranges::move(descriptors, std::back_inserter(descriptors_));
  const auto wanted = descriptors_of(flow_->chain);
  if (descriptors_.size() > std::min(wanted, descriptors_most)) return broken("too many descriptors");
  if (descriptors_.size() < wanted) return false;
  give_descriptors(flow_->chain, std::exchange(descriptors_, {}));
  moved_.flows.push_back(std::move(*flow_));
  flow_.reset();
  return false;
}

}  // namespace epif::proxy
