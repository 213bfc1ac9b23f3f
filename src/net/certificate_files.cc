#include "net/certificate_files.h"

#include "base/limits.h"
#include "base/log.h"

namespace epif::net {

Result<std::unique_ptr<CertificateFiles>> CertificateFiles::open(Loop& loop, TlsFiles files, OnRenewal on_renewal) {
  std::unique_ptr<CertificateFiles> made(new CertificateFiles(loop, std::move(files), std::move(on_renewal)));
  // Watched before the first reading, so that no change falls between.
  for (const auto& path : {made->files_.certificate, made->files_.key, made->files_.authority}) {
    auto watch = FileWatch::start(loop, path, [self = made.get()] { self->changed(); });
    if (!watch) return fail(std::move(watch.error()));
    made->watches_.push_back(std::move(*watch));
  }
  auto outcome = made->read();
  if (!outcome) return fail(std::move(outcome.error()));
  return made;
}

Result<> CertificateFiles::read() {
  auto client = TlsContext::client(files_);
  if (!client) return fail(std::move(client.error()));
  auto server = TlsContext::server(files_);
  if (!server) return fail(std::move(server.error()));
  certified_ = {std::move(*server), std::move(*client)};
  return {};
}

void CertificateFiles::changed() {
  // Certificate and key are two files: give whoever replaces them the time to do both.
  if (settle_.armed()) return;
  settle_ = loop_.after(std::chrono::milliseconds(limits::certificate_settle_ms), [this] {
    settle_ = {};
    reload();
  });
}

void CertificateFiles::reload() {
  const auto outcome = read();
  if (!outcome) {
    log::error("tls", outcome.error(), {{"kept", "the certificate before stays in use"}});
    return;
  }
  log::info("tls", "certificate read", {{"file", files_.certificate}});
  on_renewal_(certified_);
}

}  // namespace epif::net
