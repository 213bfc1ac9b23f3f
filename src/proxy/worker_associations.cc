// What a worker's associations need of it.
#include "proxy/worker.h"

namespace epif::proxy {

const Routing& Worker::routing() const { return *routing_; }

RoutePtr Worker::route_for_all() const { return shared_.allow_all ? open_route_ : nullptr; }

bool Worker::certified() const { return certified_.client != nullptr; }

void Worker::route_taken(const std::string& route) { ++counters_.routes[route].flows; }

void Worker::route_carried(const std::string& route, std::uint64_t to_server, std::uint64_t to_client) {
  counters_.routes[route] += {0, to_server, to_client};
}

void Worker::destination_refused(const std::string& client, const Destination& destination, const Error& why) {
  counters_.note({{}, client, destination.text(), why.code, why.text()});
}

void Worker::destination_cut(Code why) { counters_.ended.add(why); }

}  // namespace epif::proxy
