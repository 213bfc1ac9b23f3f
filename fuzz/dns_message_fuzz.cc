#include <cstdlib>

#include "redirect/dns_message.h"

/// Whatever a program sends to port 53: a question is found within the bytes, or none; answers to it are well-formed.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace epif;
  const ByteSpan message(data, size);
  const auto question = redirect::read_question(message);
  if (!question) return 0;
  if (question->end > size || question->name.size() > 255) std::abort();
  static const std::vector<IpAddress> addresses{*IpAddress::parse("10.2.0.20"), *IpAddress::parse("fd02::20")};
  for (const auto& answer : {redirect::dns_answer(message, *question, addresses), redirect::dns_refusal(message, *question)}) {
    // An answer is no question: it can never be asked for again.
    if (answer.size() < question->end || redirect::read_question(answer)) std::abort();
  }
  return 0;
}
