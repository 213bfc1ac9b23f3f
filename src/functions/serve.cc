#include "functions/serve.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <unordered_map>

#include "base/fd.h"
#include "base/limits.h"
#include "functions/flow.h"

namespace epif::functions {
namespace {

constexpr std::uint64_t tag_listener = 0;
constexpr std::uint64_t tag_stop = 1;
constexpr std::uint64_t tag_first = 16;

struct Control {
  Fd fd;
  std::deque<Bytes> outbox;  // for a proxy that is slow to read; bounded by the number of its flows
  std::unordered_map<std::uint64_t, std::uint64_t> flows;  // conn -> flow number
};

struct Running {
  std::uint64_t control;
  std::unique_ptr<Flow> flow;
};

class Server {
 public:
  Server(Fd listener, const Factory& factory, int stop_fd) : listener_(std::move(listener)), factory_(factory), stop_fd_(stop_fd) {}
  Result<> run();

 private:
  // An epoll tag is number * 4 + kind: 0 control, 1 client side, 2 server side of a flow.
  Result<> watch(int fd, std::uint64_t tag, std::uint32_t events);
  void accept_proxies();
  void read_control(std::uint64_t number);
  [[nodiscard]] bool receive(std::uint64_t number, Control& control);
  void on_open(std::uint64_t number, Control& control, bridge::Open open);
  void on_start(std::uint64_t number, Control& control, bridge::Start start, std::vector<Fd> descriptors);
  void on_cut(Control& control, const bridge::Cut& cut);
  void send(Control& control, const bridge::FromFunction& message);
  void flush(Control& control);
  void drop_control(std::uint64_t number);
  void end_flow(std::uint64_t flow_number);
  void move(std::uint64_t flow_number);
  void serve_event(const epoll_event& event);
  void cut_overdue();

  Fd listener_;
  const Factory& factory_;
  int stop_fd_;
  Fd epoll_;
  bool stopping_ = false;
  std::uint64_t next_ = tag_first;
  std::map<std::uint64_t, Control> controls_;
  std::unordered_map<std::uint64_t, Running> flows_;
  std::deque<std::uint64_t> again_;
  std::map<std::uint64_t, std::uint64_t> holding_;  // flow numbers whose transform holds bytes
  Bytes scratch_ = Bytes(limits::relay_buffer_bytes);
  Bytes packet_ = Bytes(limits::bf_message_max_bytes);
};

Result<> Server::watch(int fd, std::uint64_t tag, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail(system_error(errno, "cannot watch a descriptor"));
  return {};
}

void Server::accept_proxies() {
  for (;;) {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    const auto number = next_++;
    if (!watch(fd.get(), number * 4, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) continue;
    controls_[number].fd = std::move(fd);
  }
}

void Server::send(Control& control, const bridge::FromFunction& message) {
  control.outbox.push_back(encode(message));
  flush(control);
}

void Server::flush(Control& control) {
  while (!control.outbox.empty()) {
    const auto& next = control.outbox.front();
    if (::send(control.fd.get(), next.data(), next.size(), MSG_NOSIGNAL) < 0) {
      if (errno == EINTR) continue;
      return;  // EAGAIN: at the next edge; a broken socket shows itself on reading
    }
    control.outbox.pop_front();
  }
}

void Server::drop_control(std::uint64_t number) {
  const auto found = controls_.find(number);
  if (found == controls_.end()) return;
  const auto flows = std::move(found->second.flows);
  controls_.erase(found);
  for (const auto& [conn, flow] : flows) end_flow(flow);
}

// The proxy holds copies of the descriptors, so that closing ours does not take them out of the epoll set.
void Server::end_flow(std::uint64_t flow_number) {
  const auto found = flows_.find(flow_number);
  if (found == flows_.end()) return;
  const auto& [control, flow] = found->second;
  for (std::size_t side = 0; side < 2; ++side)
    if (flow->fd(side) >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, flow->fd(side), nullptr);
  if (const auto owner = controls_.find(control); owner != controls_.end()) owner->second.flows.erase(flow->conn());
  holding_.erase(flow_number);
  flows_.erase(found);
}

void Server::on_open(std::uint64_t number, Control& control, bridge::Open open) {
  auto transform = factory_(open);
  if (!transform) {
    send(control, bridge::Deny{open.conn, transform.error().text().substr(0, limits::bf_text_max_bytes)});
    return;
  }
  const auto flow = next_++;
  if (!control.flows.emplace(open.conn, flow).second) return;  // a number used twice: the proxy is at fault, the first stands
  flows_[flow] = {number, std::make_unique<Flow>(open.conn, std::move(*transform))};
  send(control, bridge::Accept{open.conn, {}, false});
}

void Server::on_start(std::uint64_t, Control& control, bridge::Start start, std::vector<Fd> descriptors) {
  const auto found = control.flows.find(start.conn);
  if (found == control.flows.end()) return;  // cut while this was under way
  const auto number = found->second;
  auto& flow = *flows_.at(number).flow;
  const std::uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  const bool good = !flow.started() && descriptors.size() == 2 && watch(descriptors[0].get(), number * 4 + 1, events) &&
                    watch(descriptors[1].get(), number * 4 + 2, events);
  if (!good) {
    send(control, bridge::Cut{start.conn, "start came without two usable descriptors (is a descriptor limit reached?)"});
    end_flow(number);
    return;
  }
  flow.start(std::move(descriptors[0]), std::move(descriptors[1]), std::move(start));
  move(number);
}

void Server::on_cut(Control& control, const bridge::Cut& cut) {
  const auto found = control.flows.find(cut.conn);
  if (found == control.flows.end()) return;
  send(control, flows_.at(found->second).flow->report("cut", cut.reason));
  end_flow(found->second);
}

std::vector<Fd> take_descriptors(msghdr& header) {
  std::vector<Fd> out;
  for (auto* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; at + sizeof(int) <= part->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
      out.emplace_back(fd);
    }
  }
  return out;
}

bool Server::receive(std::uint64_t number, Control& control) {
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * 2)];
  } rights{};
  iovec part{packet_.data(), packet_.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = rights.bytes;
  header.msg_controllen = sizeof rights.bytes;
  const auto got = ::recvmsg(control.fd.get(), &header, MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) return drop_control(number), false;
  auto descriptors = take_descriptors(header);
  auto message = bridge::decode_to_function(ByteSpan(packet_).first(static_cast<std::size_t>(got)));
  if (!message || (header.msg_flags & MSG_TRUNC) != 0) return drop_control(number), false;
  if (auto* open = std::get_if<bridge::Open>(&*message)) on_open(number, control, std::move(*open));
  else if (auto* start = std::get_if<bridge::Start>(&*message)) on_start(number, control, std::move(*start), std::move(descriptors));
  else on_cut(control, std::get<bridge::Cut>(*message));
  return true;
}

void Server::read_control(std::uint64_t number) {
  for (;;) {
    const auto found = controls_.find(number);
    if (found == controls_.end() || !receive(number, found->second)) return;
  }
}

void Server::move(std::uint64_t flow_number) {
  const auto found = flows_.find(flow_number);
  if (found == flows_.end() || !found->second.flow->started()) return;
  auto& flow = *found->second.flow;
  auto& control = controls_.at(found->second.control);
  const auto news = flow.move(scratch_, [&](const bridge::End& end) { send(control, end); });
  if (news.cut) send(control, *news.cut);
  if (news.report) {
    send(control, *news.report);
    end_flow(flow_number);
    return;
  }
  if (flow.hold_deadline()) holding_[flow_number] = flow.conn();
  else holding_.erase(flow_number);
  if (flow.has_more()) again_.push_back(flow_number);
}

void Server::cut_overdue() {
  const auto now = Clock::now();
  for (auto at = holding_.begin(); at != holding_.end();) {
    const auto [number, conn] = *at++;
    auto& running = flows_.at(number);
    if (*running.flow->hold_deadline() > now) continue;
    auto& control = controls_.at(running.control);
    const auto report = running.flow->report("cut", {});
    send(control, bridge::Cut{conn, report.note});
    send(control, report);
    end_flow(number);
  }
}

void Server::serve_event(const epoll_event& event) {
  if (event.data.u64 == tag_listener) return accept_proxies();
  if (event.data.u64 == tag_stop) {
    stopping_ = true;
    return;
  }
  const auto number = event.data.u64 / 4;
  const auto kind = event.data.u64 % 4;
  if (kind == 0) {
    if ((event.events & EPOLLOUT) != 0)
      if (const auto found = controls_.find(number); found != controls_.end()) flush(found->second);
    return read_control(number);
  }
  if (const auto found = flows_.find(number); found != flows_.end()) {
    found->second.flow->ready(kind - 1, event.events);
    move(number);
  }
}

Result<> Server::run() {
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail(system_error(errno, "cannot make an epoll instance"));
  if (auto done = watch(listener_.get(), tag_listener, EPOLLIN); !done) return done;
  if (stop_fd_ >= 0)
    if (auto done = watch(stop_fd_, tag_stop, EPOLLIN); !done) return done;
  std::array<epoll_event, 128> events{};
  while (!stopping_) {
    const int wait = !again_.empty() ? 0 : holding_.empty() ? -1 : 100;  // deadlines of held bytes are seconds, not precise
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait);
    if (count < 0 && errno != EINTR) return fail(system_error(errno, "waiting for events failed"));
    for (int i = 0; i < count; ++i) serve_event(events[static_cast<std::size_t>(i)]);
    for (auto left = again_.size(); left > 0; --left) {
      const auto number = again_.front();
      again_.pop_front();
      move(number);
    }
    cut_overdue();
  }
  return {};
}

Result<Fd> listen_on(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto text = path.string();
  if (text.empty() || text.size() >= sizeof address.sun_path)
    return fail(Code::invalid_input, "the socket's path is empty or too long", text, {}, "use at most 107 bytes");
  std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(system_error(errno, "cannot make a socket", text));
  ::unlink(text.c_str());
  const auto old_mask = ::umask(0077);
  const int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int why = errno;
  ::umask(old_mask);
  if (bound != 0) return fail(system_error(why, "cannot listen", text));
  if (::listen(fd.get(), 128) != 0) return fail(system_error(errno, "cannot listen", text));
  return fd;
}

}  // namespace

Result<> serve(const std::filesystem::path& path, const Factory& factory, int stop_fd) {
  auto listener = listen_on(path);
  if (!listener) return fail(listener.error());
  return Server(std::move(*listener), factory, stop_fd).run();
}

}  // namespace epif::functions
