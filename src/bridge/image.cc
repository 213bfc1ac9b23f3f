#include "bridge/image.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <boost/json.hpp>
#include <cassert>
#include <cstring>
#include <fstream>

namespace epif::bridge {
namespace {

namespace json = boost::json;
constexpr std::size_t block = 512;

std::string sha256_hex(ByteSpan bytes) {
  std::array<std::uint8_t, 32> hash{};
  unsigned length = 0;
  const int good = EVP_Digest(bytes.data(), bytes.size(), hash.data(), &length, EVP_sha256(), nullptr);
  assert(good == 1);
  static_cast<void>(good);
  return to_hex(hash);
}

Bytes bytes_of(const std::string& text) { return Bytes(text.begin(), text.end()); }

}  // namespace

void TarWriter::add_header(std::string_view path, std::size_t size, unsigned mode, char type) {
  assert(path.size() <= 100);
  std::array<char, block> header{};
  const auto octal = [&](std::size_t at, int digits, std::size_t value) {
    const auto text = fmt::format("{:0{}o}", value, digits);
    std::memcpy(header.data() + at, text.data(), text.size());
  };
  std::memcpy(header.data(), path.data(), path.size());
  octal(100, 7, mode);
  octal(108, 7, 0);  // uid
  octal(116, 7, 0);  // gid
  octal(124, 11, size);
  octal(136, 11, 0);  // mtime
  std::memset(header.data() + 148, ' ', 8);
  header[156] = type;
  std::memcpy(header.data() + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  octal(148, 6, sum);
  header[154] = '\0';
  out_.insert(out_.end(), header.begin(), header.end());
}

void TarWriter::add_file(std::string_view path, ByteSpan content, unsigned mode) {
  add_header(path, content.size(), mode, '0');
  out_.insert(out_.end(), content.begin(), content.end());
  out_.resize((out_.size() + block - 1) / block * block);
}

void TarWriter::add_directory(std::string_view path, unsigned mode) { add_header(path, 0, mode, '5'); }

Bytes TarWriter::finish() {
  out_.resize(out_.size() + 2 * block);
  return std::exchange(out_, {});
}

Image make_image(ByteSpan program, std::string_view tag) {
  TarWriter layer;
  layer.add_file("epif-bf", program, 0755);
  layer.add_directory("run/", 0755);
  layer.add_directory("run/epif/", 0755);
  const auto layer_tar = layer.finish();
  const auto layer_digest = sha256_hex(layer_tar);

  json::object settings;
  settings["Entrypoint"] = json::array{"/epif-bf"};
  settings["Env"] = json::array{"EPIF_BF_SOCKET=/run/epif/bf.sock"};
  settings["WorkingDir"] = "/";
  json::object configuration;
  configuration["architecture"] = "amd64";
  configuration["os"] = "linux";
  configuration["created"] = "1970-01-01T00:00:00Z";
  configuration["config"] = settings;
  configuration["rootfs"] = json::object{{"type", "layers"}, {"diff_ids", json::array{"sha256:" + layer_digest}}};
  configuration["history"] = json::array{json::object{{"created", "1970-01-01T00:00:00Z"}, {"created_by", "epif"}}};
  const auto configuration_text = json::serialize(configuration);
  const auto id = sha256_hex(as_bytes(configuration_text));

  json::object manifest;
  manifest["Config"] = id + ".json";
  manifest["RepoTags"] = json::array{json::string_view(tag.data(), tag.size())};
  manifest["Layers"] = json::array{layer_digest + "/layer.tar"};

  TarWriter archive;
  archive.add_file(id + ".json", bytes_of(configuration_text), 0644);
  archive.add_directory(layer_digest + "/", 0755);
  archive.add_file(layer_digest + "/layer.tar", layer_tar, 0644);
  archive.add_file("manifest.json", bytes_of(json::serialize(json::array{manifest})), 0644);
  return {"sha256:" + id, archive.finish()};
}

Result<Image> make_image(const std::filesystem::path& program, std::string_view tag) {
  std::ifstream file(program, std::ios::binary);
  if (!file) return fail(Code::not_found, "cannot read the program for the image", program.string());
  const Bytes content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return make_image(content, tag);
}

}  // namespace epif::bridge
