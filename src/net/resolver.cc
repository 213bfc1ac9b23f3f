#include "net/resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <condition_variable>
#include <coroutine>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "net/tcp.h"

namespace epif::net {
namespace {

constexpr std::size_t questions_max = 4096;

Result<std::vector<IpAddress>> ask_system(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int failure = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  if (failure != 0) return fail(Code::host_unreachable, "the name does not resolve", name, ::gai_strerror(failure));
  std::vector<IpAddress> found;
  for (const auto* entry = list; entry != nullptr; entry = entry->ai_next) {
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ai_addr, entry->ai_addrlen);
    found.push_back(from_sockaddr(storage).ip);
  }
  if (found.empty()) return fail(Code::host_unreachable, "the name has no address", name);
  return found;
}

struct Question {
  Loop* loop;
  std::string name;
  std::coroutine_handle<> asker;
  std::optional<Result<std::vector<IpAddress>>> answer;
};

}  // namespace

struct Resolver::State {
  std::mutex mutex;
  std::condition_variable news;
  std::deque<Question*> questions;
  bool stopping = false;
  std::vector<std::jthread> threads;

  void serve() {
    for (;;) {
      Question* question = nullptr;
      {
        std::unique_lock lock(mutex);
        news.wait(lock, [this] { return stopping || !questions.empty(); });
        if (stopping) return;
        question = questions.front();
        questions.pop_front();
      }
      question->answer = ask_system(question->name);
      question->loop->post([asker = question->asker] { asker.resume(); });
    }
  }
};

Resolver::Resolver(unsigned threads) : state_(std::make_unique<State>()) {
  for (unsigned i = 0; i < threads; ++i) state_->threads.emplace_back([state = state_.get()] { state->serve(); });
}

Resolver::~Resolver() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->news.notify_all();
}

Task<Result<std::vector<IpAddress>>> Resolver::resolve(Loop& loop, std::string name) {
  struct Ask {
    State& state;
    Question question;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> asker) {
      question.asker = asker;
      const std::lock_guard lock(state.mutex);
      if (state.questions.size() >= questions_max) {
        question.answer = fail(Code::limit, "too many names wait for the resolver", question.name);
        return false;
      }
      state.questions.push_back(&question);
      state.news.notify_one();
      return true;
    }
    void await_resume() const noexcept {}
  };
  if (auto literal = IpAddress::parse(name)) co_return std::vector<IpAddress>{*literal};
  Ask ask{*state_, {&loop, std::move(name), {}, {}}};
  co_await ask;
  co_return std::move(*ask.question.answer);
}

}  // namespace epif::net
