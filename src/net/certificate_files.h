#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "net/file_watch.h"
#include "net/tls.h"

namespace epif::net {

/// Both sides' use of a participant's own certificate; null without one.
struct Certified {
  std::shared_ptr<TlsContext> server{};  ///< for a TLS listener
  std::shared_ptr<TlsContext> client{};  ///< for legs to proxies
};

/// Certificate, key and authority, read again when one of the files changes and on reload(), since a certificate lives shorter
/// than a proxy or redirector. Files that do not fit together are refused with the reason, and those before stay in use. On one loop.
class CertificateFiles {
 public:
  using OnRenewal = std::function<void(const Certified&)>;

  /// Reads the files and begins to watch them. Errors: invalid_input (names the file), not_found, no_descriptors.
  [[nodiscard]] static Result<std::unique_ptr<CertificateFiles>> open(Loop& loop, TlsFiles files, OnRenewal on_renewal);
  CertificateFiles(const CertificateFiles&) = delete;
  CertificateFiles& operator=(const CertificateFiles&) = delete;

  /// Reads now; tells on_renewal if all is well.
  void reload();
  [[nodiscard]] const Certified& certified() const { return certified_; }
  [[nodiscard]] std::uint64_t handshakes() const { return certified_.server->handshakes() + certified_.client->handshakes(); }

 private:
  CertificateFiles(Loop& loop, TlsFiles files, OnRenewal on_renewal)
      : loop_(loop), files_(std::move(files)), on_renewal_(std::move(on_renewal)) {}
  [[nodiscard]] Result<> read();
  void changed();

  Loop& loop_;
  TlsFiles files_;
  OnRenewal on_renewal_;
  Certified certified_;
  Loop::Timer settle_;
  std::vector<std::unique_ptr<FileWatch>> watches_;
};

}  // namespace epif::net
