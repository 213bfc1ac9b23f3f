// The program inside the built-in BF containers: one static file, no libraries, no configuration, no name service.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <cstdio>
#include <cstdlib>

#include "base/fd.h"
#include "base/limits.h"
#include "functions/catalogue.h"
#include "functions/serve.h"

namespace {

int complain(const epif::Error& error) {
  std::fprintf(stderr, "epif-bf: %s\n", error.text().c_str());
  return 1;
}

// As process 1 of a container it has no default action for SIGTERM: it takes the signal itself.
epif::Fd stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return epif::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

int main(int argc, char** argv) {
  const char* function = argc > 1 ? argv[1] : std::getenv("EPIF_BF_FUNCTION");
  const char* socket = std::getenv("EPIF_BF_SOCKET");
  if (function == nullptr || socket == nullptr || argc > 2) {
    std::fprintf(stderr, "usage: EPIF_BF_SOCKET=PATH epif-bf FUNCTION (or EPIF_BF_FUNCTION in the environment)\nfunctions:\n");
    for (const auto& entry : epif::functions::catalogue())
      std::fprintf(stderr, "  %-12.*s %.*s\n", static_cast<int>(entry.name.size()), entry.name.data(),
                   static_cast<int>(entry.summary.size()), entry.summary.data());
    return 2;
  }
  const auto factory = epif::functions::factory(function);
  if (!factory) return complain(factory.error());
  const auto stop = stop_signals();
  if (!stop) return complain(epif::system_error(errno, "cannot take signals"));
  const auto served = epif::functions::serve(socket, *factory, stop.get());
  ::unlink(socket);
  return served ? 0 : complain(served.error());
}
