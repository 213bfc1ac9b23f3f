#include <future>
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "functions/catalogue.h"
#include "functions/chain_rig.h"
#include "functions/serve.h"

namespace epif::functions {

namespace {

Bytes copied(std::string_view text) {
  const auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

bool listens(const std::string& path) {
  const Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

FunctionProcess::FunctionProcess(const std::string& folder, const std::string& name, const std::string& function)
    : name_(name), function_(function), socket_(folder + "/" + name + ".sock") {
  const auto made = factory(function);
  EXPECT_TRUE(made);
  pid_ = ::fork();
  if (pid_ == 0) {
    const auto served = serve(socket_, *made);
    ::_exit(served ? 0 : 1);
  }
  await_socket();
}

FunctionProcess::FunctionProcess(const std::string& folder, const std::string& name,
                                 const std::function<void(const std::string&)>& body)
    : name_(name), function_("custom"), socket_(folder + "/" + name + ".sock") {
  pid_ = ::fork();
  if (pid_ == 0) {
    body(socket_);
    ::_exit(0);
  }
  await_socket();
}

FunctionProcess::~FunctionProcess() { kill(); }

// Polls, since a socket file gives no event when somebody starts to listen; bounded.
void FunctionProcess::await_socket() {
  const auto deadline = net::Clock::now() + std::chrono::seconds(10);
  while (!listens(socket_)) {
    ASSERT_LT(net::Clock::now(), deadline) << name_ << " does not listen";
    ::poll(nullptr, 0, 1);
  }
}

void FunctionProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

ChainLink FunctionProcess::link(std::map<std::string, std::string> parameters, std::string key_pair) const {
  ChainLink link;
  link.function = function_;
  link.instance = name_;
  link.socket = socket_;
  link.peer_pid = pid_;
  link.parameters = std::move(parameters);
  link.key_pair = std::move(key_pair);
  return link;
}

TemporaryFolder::TemporaryFolder() : path_("/tmp/epif-chain-XXXXXX") { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::pair<Fd, Fd> tcp_pair() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  Fd one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(one.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  Fd other(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return {std::move(one), std::move(other)};
}

ChainRig::ChainRig(std::vector<ChainLink> links, Options options)
    : links_(std::move(links)), options_(std::move(options)) {
  std::tie(client_app_, client_leg_) = tcp_pair();
  std::tie(server_app_, server_leg_) = tcp_pair();
  auto loop = net::Loop::make();
  EXPECT_TRUE(loop);
  loop_ = std::move(*loop);
  thread_ = std::thread([this] {
    pool_ = std::make_unique<bridge::ControlPool>(*loop_);
    net::spawn(connection(*this));
    loop_->run();
    pool_.reset();
    loop_->run_once(std::chrono::milliseconds(0));  // lets the control connections' coroutines end
  });
}

ChainRig::~ChainRig() {
  client_app_.reset();
  server_app_.reset();
  loop_->stop();
  thread_.join();
}

void ChainRig::settle(std::function<void()> change) {
  {
    const std::lock_guard lock(mutex_);
    change();
  }
  changed_.notify_all();
}

net::Task<> ChainRig::connection(ChainRig& rig) {
  bridge::FlowHeader header{"test/flow", "umc/modality", "10.2.0.10:4242", DataDirection::push, "research", {}};
  if (!rig.options_.idle.empty()) {
    auto idle = co_await bridge::Chain::open(*rig.pool_, rig.options_.idle, header, {});
    EXPECT_TRUE(idle);
    if (idle) rig.idle_ = std::move(*idle);
  }
  auto opened = co_await bridge::Chain::open(*rig.pool_, rig.links_, header, rig.options_.keys);
  if (!opened) {
    rig.settle([&] { rig.refusal_ = opened.error(), rig.opened_ = true; });
    co_return;
  }
  rig.settle([&] { rig.chain_ = std::move(*opened), rig.opened_ = true; });
  auto client = std::make_unique<net::SocketStream>(*rig.loop_, std::move(rig.client_leg_));
  auto server = std::make_unique<net::SocketStream>(*rig.loop_, std::move(rig.server_leg_));
  auto report = co_await rig.chain_->run(*client, copied(rig.options_.early_client), *server, copied(rig.options_.early_server),
                                         rig.options_.limits);
  while (report.left) {
    const auto arrival = std::make_shared<bridge::Arrival>(*rig.pool_, std::move(rig.departure_.controls));
    auto& moved = rig.departure_.chains.front().second;
    client = std::make_unique<net::SocketStream>(*rig.loop_, net::SocketStream::release(std::move(client)));
    server = std::make_unique<net::SocketStream>(*rig.loop_, net::SocketStream::release(std::move(server)));
    auto chain = arrival->chain(rig.links_, header, std::move(moved));
    EXPECT_TRUE(chain);
    rig.settle([&] { rig.chain_ = std::move(*chain); });
    rig.loop_->post([arrival] { arrival->hear(); });  // once it runs
    report = co_await rig.chain_->run_on(*client, *server);
  }
  rig.idle_.reset();
  rig.settle([&] { rig.chain_.reset(), rig.report_ = std::move(report); });
}

std::optional<Error> ChainRig::refusal() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return opened_; });
  return refusal_;
}

bridge::ChainReport ChainRig::report() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return report_.has_value(); });
  return *report_;
}

namespace {
void reset(Fd& fd) {
  const linger now{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}
}  // namespace

void ChainRig::reset_client() { reset(client_app_); }
void ChainRig::reset_server() { reset(server_app_); }
bool ChainRig::move() {
  std::promise<bool> left;
  loop_->post([this, &left] {
    std::vector<bridge::Chain*> running;
    if (idle_) running.push_back(idle_.get());
    running.push_back(chain_.get());
    departure_ = bridge::depart(*pool_, running);
    for (const auto& [at, parts] : departure_.chains) EXPECT_EQ(at, running.size() - 1);
    left.set_value(!departure_.chains.empty());
  });
  return left.get_future().get();
}

void ChainRig::cut(Error why) {
  loop_->post([this, why = std::move(why)]() mutable {
    const std::lock_guard lock(mutex_);
    if (chain_) chain_->cut(std::move(why));
  });
}

ReadAll read_all(int fd) {
  ReadAll all;
  char buffer[64 * 1024];
  for (;;) {
    const auto got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got == 0) return all;
    if (got < 0) return all.error = errno, all;
    all.bytes.append(buffer, static_cast<std::size_t>(got));
  }
}

std::string read_exactly(int fd, std::size_t size) {
  std::string bytes(size, '\0');
  const auto got = ::recv(fd, bytes.data(), size, MSG_WAITALL);
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto put = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

void end_writing(int fd) { ::shutdown(fd, SHUT_WR); }

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string out(size, '\0');
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const auto word = random();
    std::memcpy(out.data() + i, &word, 8);
  }
  return out;
}

}  // namespace epif::functions
