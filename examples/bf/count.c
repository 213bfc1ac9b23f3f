/* A bridging function in C: passes everything and reports how many lines went each way. A process per connection, no
   library. cc -O2 -Wall -o count count.c && EPIF_BF_SOCKET=/tmp/count.sock ./count */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct way { /* one direction */
  int from, to, direct, ended;
  const char *name;
  long long bytes, lines;
};

static void say(int control, const char *text) { send(control, text, strlen(text), MSG_NOSIGNAL); }

static int pass(struct way *way, const char *data, long size) {
  for (long i = 0; i < size; ++i) way->lines += data[i] == '\n';
  while (size > 0) {
    long put = send(way->to, data, size, MSG_NOSIGNAL);
    if (put < 0 && errno == EAGAIN) {
      struct pollfd one = {way->to, POLLOUT, 0};
      poll(&one, 1, -1);
    } else if (put < 0) {
      return -1;
    } else {
      data += put, size -= put, way->bytes += put;
    }
  }
  return 0;
}

/* Reads once; at the end it announces the end, and only then shuts down. */
static int step(int control, long long conn, struct way *way) {
  static char buffer[65536];
  char text[256];
  long got = recv(way->from, buffer, sizeof buffer, 0);
  if (got < 0) return errno == EAGAIN ? 0 : -1;
  if (got > 0) return pass(way, buffer, got);
  snprintf(text, sizeof text, "{\"type\":\"end\",\"conn\":%lld,\"direction\":\"%s\",\"bytes\":%lld}\n", conn, way->name, way->bytes);
  say(control, text);
  if (!way->direct) shutdown(way->to, SHUT_WR);
  way->ended = 1;
  return 0;
}

static void run(int control, long long conn, struct way ways[2], const char *early, const long sizes[2]) {
  char text[256];
  int broken = pass(&ways[0], early, sizes[0]) || pass(&ways[1], early + sizes[0], sizes[1]);
  while (!broken && !(ways[0].ended && ways[1].ended)) {
    struct pollfd both[2] = {{ways[0].ended ? -1 : ways[0].from, POLLIN, 0}, {ways[1].ended ? -1 : ways[1].from, POLLIN, 0}};
    poll(both, 2, -1);
    for (int i = 0; i < 2; ++i)
      if (both[i].revents && step(control, conn, &ways[i])) broken = 1;
  }
  if (broken) {
    snprintf(text, sizeof text, "{\"type\":\"cut\",\"conn\":%lld,\"reason\":\"%s\"}\n", conn, strerror(errno));
  } else {
    snprintf(text, sizeof text,
             "{\"type\":\"report\",\"conn\":%lld,\"bytes_to_server\":%lld,\"bytes_to_client\":%lld,\"verdict\":\"passed\","
             "\"note\":\"%lld lines up, %lld lines down\"}\n",
             conn, ways[0].bytes, ways[1].bytes, ways[0].lines, ways[1].lines);
  }
  say(control, text);
}

/* The proxy writes its objects without spaces, and user text in them cannot hold an unescaped quote. */
static const char *field(const char *object, const char *name) {
  const char *at = strstr(object, name);
  return at ? at + strlen(name) : "";
}

static void serve(int control) {
  static char packet[65537];
  char text[256];
  for (;;) {
    union { struct cmsghdr align; char bytes[CMSG_SPACE(2 * sizeof(int))]; } rights;
    struct iovec part = {packet, sizeof packet - 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = rights.bytes, .msg_controllen = sizeof rights.bytes};
    long got = recvmsg(control, &header, MSG_CMSG_CLOEXEC);
    if (got <= 0) return;
    packet[got] = 0;
    char *payload = memchr(packet, '\n', got);
    if (!payload) return;
    *payload++ = 0;
    long long conn = atoll(field(packet, "\"conn\":"));
    if (strstr(packet, "\"type\":\"open\"")) {
      snprintf(text, sizeof text, "{\"type\":\"accept\",\"conn\":%lld}\n", conn);
      say(control, text);
    } else if (strstr(packet, "\"type\":\"start\"")) {
      int fds[2];
      long sizes[2];
      memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof fds);
      const char *direct = field(packet, "\"direct\":[");
      int direct_client = strncmp(direct, "true", 4) == 0, direct_server = strncmp(strchr(direct, ','), ",true", 5) == 0;
      sscanf(field(packet, "\"early\":["), "%ld,%ld", &sizes[0], &sizes[1]);
      if (fork() == 0) {
        struct way ways[2] = {{fds[0], fds[1], direct_server, 0, "to_server", 0, 0}, {fds[1], fds[0], direct_client, 0, "to_client", 0, 0}};
        run(control, conn, ways, payload, sizes);
        _exit(0);
      }
      close(fds[0]);
      close(fds[1]);
    }
  }
}

int main(void) {
  const char *path = getenv("EPIF_BF_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!path || strlen(path) >= sizeof address.sun_path) return fprintf(stderr, "set EPIF_BF_SOCKET\n"), 2;
  strcpy(address.sun_path, path);
  signal(SIGCHLD, SIG_IGN);
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  unlink(path);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) return perror(path), 1;
  for (;;) {
    int control = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (control >= 0 && fork() == 0) {
      serve(control);
      _exit(0);
    }
    if (control >= 0) close(control);
  }
}
