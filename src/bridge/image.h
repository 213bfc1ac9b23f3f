#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

/// Container images without a builder: one static program, FROM scratch.
namespace epif::bridge {

/// Writes a POSIX ustar archive (IEEE 1003.1) in memory; entries carry uid, gid and mtime 0, so equal input gives equal bytes.
class TarWriter {
 public:
  /// `path` at most 100 bytes, relative.
  void add_file(std::string_view path, ByteSpan content, unsigned mode);
  void add_directory(std::string_view path, unsigned mode);
  /// The archive with its end marker; the writer is empty afterwards.
  [[nodiscard]] Bytes finish();

 private:
  void add_header(std::string_view path, std::size_t size, unsigned mode, char type);
  Bytes out_;
};

struct Image {
  std::string id;  ///< "sha256:..." of the configuration: the image ID an engine will show, known before loading
  Bytes archive;   ///< docker-archive (manifest.json, configuration, one layer), for Engine::load_image
};

/// An image holding `program` as /epif-bf, an empty /run/epif and nothing else; entry point /epif-bf. Deterministic.
[[nodiscard]] Result<Image> make_image(const std::filesystem::path& program, std::string_view tag);
[[nodiscard]] Image make_image(ByteSpan program, std::string_view tag);

}  // namespace epif::bridge
