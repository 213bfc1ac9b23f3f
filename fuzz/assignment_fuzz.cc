// What the orchestrator and the agents of other hosts write: no crash, what was read can be written and read again as the same, and a
// number is read as it stands there or refused. The first byte picks the document.
#include <boost/json.hpp>
#include <cstdlib>

#include "base/bytes.h"
#include "model/assignment.h"

using namespace epif;

namespace {

template <class Document>
void check(Result<Document> (*parse)(std::string_view), std::string_view text) {
  const auto first = parse(text);
  if (!first) return;
  const auto written = print(*first);
  const auto second = parse(written);
  if (!second || *second != *first || print(*second) != written) std::abort();
}

void check_ports(std::string_view text) {
  const auto request = parse_request(text);
  if (!request) return;
  const auto document = boost::json::parse(text);
  for (std::size_t at = 0; at < request->flows.size(); ++at) {
    const auto* port = document.at("flows").as_array().at(at).as_object().if_contains("port");
    if (request->flows[at].port != (port != nullptr ? port->to_number<std::uint64_t>() : 0)) std::abort();
  }
}

void check_removal(std::string_view text) {
  const auto first = parse_removal(text);
  if (!first) return;
  if (parse_assignment(text)) std::abort();
  const auto written = print(*first);
  const auto second = parse_removal(written);
  if (!second || second->node != first->node || second->revision != first->revision || second->at != first->at) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto text = as_text(ByteSpan(data + 1, size - 1));
  switch (data[0] % 5) {
    case 0: check(parse_assignment, text); break;
    case 1: check_removal(text); break;
    case 2: check(parse_report, text); break;
    case 3: check(parse_request, text), check_ports(text); break;
    default: check(parse_answer, text);
  }
  return 0;
}
