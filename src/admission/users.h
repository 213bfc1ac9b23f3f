#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace epif::admission {

/// Names and passwords for the listener in clear (RFC 1929). Empty: nobody has to say who he is.
class Users {
 public:
  /// "NAME:PASSWORD", each 1..255 bytes; a colon may stand in the password. Errors: usage, conflict (a name twice).
  [[nodiscard]] Result<> add(std::string_view name_and_password);
  /// One NAME:PASSWORD a line; empty lines and lines that begin with # are skipped. Errors name file and line; a file that
  /// others may read is refused with `permission`.
  [[nodiscard]] Result<> add_file(const std::filesystem::path& file);

  [[nodiscard]] bool empty() const { return passwords_.empty(); }
  /// Takes the same time for every wrong password of a length.
  [[nodiscard]] bool accepts(std::string_view name, std::string_view password) const;
  /// A digest of name and password by which a new process recognizes that both are as they were; `salt` differs each time. Empty if nobody
  /// has that name.
  [[nodiscard]] Bytes proof(std::string_view name, ByteSpan salt) const;

 private:
  std::map<std::string, std::string, std::less<>> passwords_;
};

}  // namespace epif::admission
