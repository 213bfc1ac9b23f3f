// A bridging function that breaks every rule it can; EPIF_BF_FUNCTION says which. Plain system calls and no library, so
// that what it tries is what reaches the kernel. Used by src/functions/hostile_test.cc, in a container and outside of one, and by
// tests/control_orphans.py.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

namespace {

std::string mode, socket_path, detail;

void note(const char* what, long result) {
  const int why = errno;
  detail += (detail.empty() ? "" : ",");
  detail += '"' + std::string(what) + "\":\"" + (result >= 0 ? "worked" : strerror(why)) + '"';
}

void say(int control, const std::string& text) {
  const auto line = text + "\n";
  send(control, line.data(), line.size(), MSG_NOSIGNAL);
}

std::string number_after(const std::string& text, const char* key) {
  const auto at = text.find(key);
  if (at == std::string::npos) return "0";
  const auto from = at + strlen(key);
  return text.substr(from, text.find_first_not_of("0123456789", from) - from);
}

// 127.0.0.1:PORT from the parameter "target_port"; reached only by a socket that lives in the proxy's network namespace.
int target_port = 0;
sockaddr_in target() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<unsigned short>(target_port));
  return address;
}

int connect_to_target(int fd) {
  auto address = target();
  int result = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  if (result < 0 && errno == EINPROGRESS) {
    pollfd one{fd, POLLOUT, 0};
    poll(&one, 1, 1000);
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    errno = error;
    result = error == 0 ? 0 : -1;
  }
  return result;
}

void try_new_sockets() {
  const int inet = socket(AF_INET, SOCK_STREAM, 0);
  note("socket_inet", inet);
  if (inet >= 0) note("connect_new_socket", connect_to_target(inet));
  note("socket_inet6", socket(AF_INET6, SOCK_STREAM, 0));
  note("socket_netlink", socket(AF_NETLINK, SOCK_RAW, 0));
  note("socket_packet", socket(AF_PACKET, SOCK_RAW, 0));
  note("socket_raw", socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
}

void try_lent_socket(int fd) {
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  note("lent_disconnect", connect(fd, &nowhere, sizeof nowhere));
  note("lent_reconnect", connect_to_target(fd));
  auto address = target();
  note("lent_fast_open", sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), sizeof address));
  note("lent_listen", listen(fd, 1));
}

void try_files() {
  FILE* file = fopen("/escape", "w");
  note("write_root", file != nullptr ? 0 : -1);
  file = fopen("/proc/sys/kernel/core_pattern", "w");
  note("write_kernel", file != nullptr ? 0 : -1);
  note("become_root", setuid(0));
}

void on_open(int control, const std::string& conn, const std::string& text) {
  target_port = atoi(number_after(text, "\"target_port\":\"").c_str());
  if (mode == "mute") return;
  if (mode == "garbage") return say(control, "this is no JSON");
  if (mode == "descriptors") {
    int fds[64];
    for (int& fd : fds) fd = 0;
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof fds)] = {};
    auto line = "{\"type\":\"accept\",\"conn\":" + conn + "}\n";
    iovec part{line.data(), line.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = space;
    header.msg_controllen = sizeof space;
    auto* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(rights), fds, sizeof fds);
    sendmsg(control, &header, MSG_NOSIGNAL);
    return;
  }
  say(control, "{\"type\":\"accept\",\"conn\":" + conn + "}");
  if (mode == "flood")
    for (int i = 0; i < 100'000; ++i) say(control, "{\"type\":\"cut\",\"conn\":99999999,\"reason\":\"x\"}");
}

// Carries on for as long as one of the two still may speak, in a process that hears nobody else: not that its proxy died either.
void carry_on(int control, int client, int server) {
  if (fork() != 0) {
    close(client);
    close(server);
    return;
  }
  close(control);
  pollfd ends[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (poll(ends, 2, -1) < 0) break;
    for (int from : {0, 1}) {
      if (ends[from].fd < 0 || ends[from].revents == 0) continue;
      char buffer[4096];
      const auto got = recv(ends[from].fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) continue;
      if (got > 0) send(from == 0 ? server : client, buffer, static_cast<size_t>(got), MSG_NOSIGNAL);
      else ends[from].fd = -1;
    }
  }
  _exit(0);
}

void on_start(int control, const std::string& conn, int client, int server) {
  if (mode == "probe") {
    try_new_sockets();
    try_files();
    try_lent_socket(client);
    try_lent_socket(server);
    say(control, "{\"type\":\"report\",\"conn\":" + conn +
                     ",\"bytes_to_server\":0,\"bytes_to_client\":0,\"verdict\":\"tried\",\"note\":\"\",\"detail\":{" + detail + "}}");
    say(control, "{\"type\":\"cut\",\"conn\":" + conn + ",\"reason\":\"tried all\"}");
    return;
  }
  if (mode == "deaf") return carry_on(control, client, server);
  // Half of a transfer, then an end that is a lie.
  char buffer[4096];
  const pollfd waiting{client, POLLIN, 0};
  pollfd one = waiting;
  poll(&one, 1, 5000);
  const auto got = recv(client, buffer, sizeof buffer, MSG_DONTWAIT);
  if (got > 0) send(server, buffer, static_cast<size_t>(got / 2), MSG_NOSIGNAL);
  if (mode == "fake_end") say(control, "{\"type\":\"end\",\"conn\":" + conn + ",\"direction\":\"to_server\",\"bytes\":" + std::to_string(got) + "}");
  shutdown(server, SHUT_WR);
}

void serve(int control) {
  static char packet[70'000];
  for (;;) {
    alignas(cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))];
    iovec part{packet, sizeof packet};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = space;
    header.msg_controllen = sizeof space;
    const auto got = recvmsg(control, &header, 0);
    if (got <= 0) return;
    const std::string text(packet, static_cast<size_t>(got));
    const auto conn = number_after(text, "\"conn\":");
    if (text.find("\"type\":\"open\"") != std::string::npos) on_open(control, conn, text);
    if (text.find("\"type\":\"start\"") == std::string::npos) continue;
    int fds[2] = {-1, -1};
    if (auto* rights = CMSG_FIRSTHDR(&header)) memcpy(fds, CMSG_DATA(rights), sizeof fds);
    on_start(control, conn, fds[0], fds[1]);
  }
}

}  // namespace

int main() {
  mode = getenv("EPIF_BF_FUNCTION");
  socket_path = getenv("EPIF_BF_SOCKET");
  const int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  unlink(socket_path.c_str());
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 8) != 0) return 1;
  int served = 0;
  for (;;) {
    const int control = accept(listener, nullptr, nullptr);
    // After the start was seen to listen: the socket becomes a link to somebody else's.
    if (mode == "symlink" && served++ == 0) {
      unlink(socket_path.c_str());
      if (symlink("/proc/self/root/run/other.sock", socket_path.c_str()) != 0) return 1;
    }
    // One for each thread of the proxy.
    if (mode == "deaf" && fork() != 0) {
      close(control);
      continue;
    }
    serve(control);
    close(control);
    if (mode == "deaf") return 0;
  }
}
