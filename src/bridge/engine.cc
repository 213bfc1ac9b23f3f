#include "bridge/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>

#include "bridge/unix_http.h"
#include "model/image_reference.h"

namespace epif::bridge {
namespace {

namespace json = boost::json;

constexpr std::string_view api = "/v1.40";

struct Call {
  const std::filesystem::path& socket;
  std::uint32_t deadline_ms;

  Result<HttpAnswer> operator()(std::string_view method, const std::string& target, std::string_view type = {}, ByteSpan body = {}) const {
    return unix_http(socket, method, std::string(api) + target, type, body, deadline_ms);
  }
  Result<HttpAnswer> post(const std::string& target, const json::value& body) const {
    return (*this)("POST", target, "application/json", as_bytes(json::serialize(body)));
  }
};

// The engine's own words from {"message": ...} (Docker) or {"cause": ...} (Podman), else the start of the body.
std::string words(const HttpAnswer& answer) {
  boost::system::error_code error;
  const auto value = json::parse(answer.body, error);
  if (!error && value.is_object())
    for (const auto* key : {"message", "cause"})
      if (const auto* text = value.get_object().if_contains(key); text != nullptr && text->is_string())
        return std::string(text->get_string());
  return fmt::format("status {} {}", answer.status, answer.body.substr(0, 200));
}

std::unexpected<Error> refused(const HttpAnswer& answer, std::string what, std::string_view object) {
  const auto code = answer.status == 404 ? Code::not_found : answer.status == 409 ? Code::conflict : Code::engine;
  return fail(code, std::move(what), std::string(object), words(answer));
}

Result<json::value> parsed(const HttpAnswer& answer, std::string_view object) {
  boost::system::error_code error;
  auto value = json::parse(answer.body, error);
  if (error) return fail(Code::engine, "the engine's answer is not JSON", std::string(object), error.message());
  return value;
}

std::string text_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string{};
}
std::int64_t number_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}
const json::object& object_at(const json::object& object, std::string_view key) {
  static const json::object empty;
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_object() ? value->get_object() : empty;
}
std::vector<std::string> texts_at(const json::object& object, std::string_view key) {
  std::vector<std::string> out;
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_array()) return out;
  for (const auto& item : value->get_array())
    if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}
std::map<std::string, std::string> labels_at(const json::object& object, std::string_view key) {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : object_at(object, key))
    if (value.is_string()) out.emplace(std::string(name.data(), name.size()), std::string(value.get_string()));
  return out;
}
json::object object_of(const std::map<std::string, std::string>& map) {
  json::object out;
  for (const auto& [name, value] : map) out[name] = value;
  return out;
}

ImageInfo image_of(const json::object& object) {
  ImageInfo info{text_at(object, "Id"), texts_at(object, "RepoTags"), texts_at(object, "RepoDigests")};
  if (!info.id.empty() && !info.id.starts_with("sha256:")) info.id.insert(0, "sha256:");
  return info;
}

json::object limit_of(std::string_view name, std::uint32_t value) {
  return {{"Name", json::string_view(name.data(), name.size())}, {"Soft", value}, {"Hard", value}};
}

json::object host_config(const ContainerSpec& spec, const std::string& seccomp) {
  json::array security{"no-new-privileges"};
  if (!seccomp.empty()) security.emplace_back("seccomp=" + seccomp);
  json::object out;
  out["NetworkMode"] = "none";
  out["ReadonlyRootfs"] = true;
  out["CapDrop"] = json::array{"ALL"};
  out["SecurityOpt"] = security;
  out["Privileged"] = false;
  out["Memory"] = spec.memory_bytes;
  out["MemorySwap"] = spec.memory_bytes;  // no swap on top
  out["PidsLimit"] = spec.processes;
  out["Ulimits"] = json::array{limit_of("nofile", spec.descriptors), limit_of("nproc", spec.processes)};
  if (!spec.mount_source.empty()) {
    json::object mount{{"Type", "bind"}, {"Source", spec.mount_source.string()}, {"Target", spec.mount_target}, {"ReadOnly", false}};
    out["Mounts"] = json::array{mount};
  }
  out["RestartPolicy"] = json::object{{"Name", "no"}};
  out["LogConfig"] = json::object{{"Type", "json-file"}};
  return out;
}

json::object create_body(const ContainerSpec& spec, const std::string& seccomp) {
  json::array environment;
  for (const auto& [name, value] : spec.environment) environment.emplace_back(name + "=" + value);
  json::object out;
  out["Image"] = spec.image;
  out["User"] = fmt::format("{}:{}", spec.uid, spec.uid);
  out["Env"] = environment;
  out["Labels"] = object_of(spec.labels);
  out["NetworkDisabled"] = true;
  out["HostConfig"] = host_config(spec, seccomp);
  if (!spec.command.empty()) out["Cmd"] = json::array(spec.command.begin(), spec.command.end());
  return out;
}

// Podman alone serves its own API beside Docker's.
Result<bool> is_podman(const Call& call) {
  const auto answer = call("GET", "/libpod/_ping");
  if (!answer) return fail(answer.error());
  return answer->status == 200;
}

// What stands after "seccomp=": a path for Podman, the profile itself for Docker.
Result<std::string> seccomp_option(const Call& call, const ContainerSpec& spec) {
  if (spec.seccomp.empty()) return std::string{};
  const auto podman = is_podman(call);
  if (!podman) return fail(podman.error());
  if (*podman) return std::filesystem::absolute(spec.seccomp).string();
  std::ifstream file(spec.seccomp);
  if (!file) return fail(Code::io, "cannot read the seccomp profile", spec.seccomp.string());
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

}  // namespace

Result<> Engine::ping() const {
  const auto answer = Call{socket_, deadline_ms_}("GET", "/_ping");
  if (!answer) return fail(answer.error());
  if (answer->status != 200) return refused(*answer, "the container engine does not serve", socket_.string());
  return {};
}

Result<ImageInfo> Engine::load_image(ByteSpan archive, std::string_view tag) const {
  const auto answer = Call{socket_, deadline_ms_}("POST", "/images/load", "application/x-tar", archive);
  if (!answer) return fail(answer.error());
  if (answer->status != 200) return refused(*answer, "the engine does not load the image", tag);
  return inspect_image(tag);
}

Result<ImageInfo> Engine::inspect_image(std::string_view reference) const {
  // Docker takes an ID with its algorithm, Podman 4.3 only the bare one.
  auto plain = std::string(reference);
  if (plain.starts_with("sha256:")) plain.erase(0, 7);
  const auto answer = Call{socket_, deadline_ms_}("GET", "/images/" + percent_encode(plain) + "/json");
  if (!answer) return fail(answer.error());
  // Podman takes an ID that it does not have for a name, and names may not look like IDs.
  const bool unknown_id = answer->status == 500 && words(*answer).find("hexadecimal") != std::string::npos;
  if (answer->status == 404 || unknown_id)
    return fail(Code::not_found, "there is no such image", std::string(reference), {}, "build it, or check its digest");
  if (answer->status != 200) return refused(*answer, "the engine does not inspect the image", reference);
  const auto value = parsed(*answer, reference);
  if (!value) return fail(value.error());
  if (!value->is_object()) return fail(Code::engine, "the engine's image is not an object", std::string(reference));
  return image_of(value->get_object());
}

// An engine resolves NAME@DIGEST by the manifest alone, and Podman 4.3 takes a manifest's digest without a name for an unknown
// id. Its list holds both digests of every image.
Result<ImageInfo> Engine::find_image(std::string_view pinned) const {
  const auto digest = digest_of_image(pinned);
  if (digest.empty()) return fail(Code::invalid_input, "the image is not pinned", std::string(pinned), {}, "name it by its digest");
  const auto answer = Call{socket_, deadline_ms_}("GET", "/images/json?all=true");
  if (!answer) return fail(answer.error());
  if (answer->status != 200) return refused(*answer, "the engine does not list images", socket_.string());
  const auto value = parsed(*answer, socket_.string());
  if (!value) return fail(value.error());
  if (!value->is_array()) return fail(Code::engine, "the engine's images are not a list", socket_.string());
  std::optional<ImageInfo> by_manifest;
  for (const auto& item : value->get_array()) {
    if (!item.is_object()) continue;
    auto info = image_of(item.get_object());
    if (info.id == digest) return info;
    const bool named = std::any_of(info.digests.begin(), info.digests.end(), [&](const auto& one) { return digest_of_image(one) == digest; });
    if (named) by_manifest = std::move(info);
  }
  if (by_manifest) return std::move(*by_manifest);
  return fail(Code::not_found, "there is no such image", std::string(pinned), {}, "build it, or check its digest");
}

Result<> Engine::remove_image(std::string_view reference) const {
  auto plain = std::string(reference);
  if (plain.starts_with("sha256:")) plain.erase(0, 7);
  const auto answer = Call{socket_, deadline_ms_}("DELETE", "/images/" + percent_encode(plain) + "?force=true");
  if (!answer) return fail(answer.error());
  if (answer->status != 200 && answer->status != 404) return refused(*answer, "the engine does not remove the image", reference);
  return {};
}

Result<std::string> Engine::create(const ContainerSpec& spec) const {
  if (spec.uid == 0) return fail(Code::invalid_input, "a bridging function never runs as root", spec.name);
  const auto seccomp = seccomp_option(Call{socket_, deadline_ms_}, spec);
  if (!seccomp) return fail(seccomp.error());
  const auto answer = Call{socket_, deadline_ms_}.post("/containers/create?name=" + percent_encode(spec.name), create_body(spec, *seccomp));
  if (!answer) return fail(answer.error());
  if (answer->status == 404)
    return fail(Code::not_found, "there is no such image", spec.image, words(*answer), "build it, or check its digest");
  if (answer->status != 201) return refused(*answer, "the engine does not create the container", spec.name);
  const auto value = parsed(*answer, spec.name);
  if (!value) return fail(value.error());
  return value->is_object() ? text_at(value->get_object(), "Id") : std::string{};
}

Result<> Engine::start(std::string_view id) const {
  const auto answer = Call{socket_, deadline_ms_}("POST", "/containers/" + percent_encode(id) + "/start");
  if (!answer) return fail(answer.error());
  if (answer->status != 204 && answer->status != 304) return refused(*answer, "the engine does not start the container", id);
  return {};
}

Result<ContainerState> Engine::inspect(std::string_view id_or_name) const {
  const auto answer = Call{socket_, deadline_ms_}("GET", "/containers/" + percent_encode(id_or_name) + "/json");
  if (!answer) return fail(answer.error());
  if (answer->status != 200) return refused(*answer, "the engine does not inspect the container", id_or_name);
  const auto value = parsed(*answer, id_or_name);
  if (!value) return fail(value.error());
  if (!value->is_object()) return fail(Code::engine, "the engine's container is not an object", std::string(id_or_name));
  const auto& object = value->get_object();
  const auto& state = object_at(object, "State");
  ContainerState out;
  out.id = text_at(object, "Id");
  out.name = text_at(object, "Name");
  if (out.name.starts_with('/')) out.name.erase(0, 1);
  out.image = text_at(object, "Image");
  if (!out.image.empty() && !out.image.starts_with("sha256:")) out.image.insert(0, "sha256:");
  out.running = state.if_contains("Running") != nullptr && state.at("Running").is_bool() && state.at("Running").get_bool();
  out.pid = out.running ? number_at(state, "Pid") : 0;
  out.exit_code = number_at(state, "ExitCode");
  out.labels = labels_at(object_at(object, "Config"), "Labels");
  return out;
}

Result<> Engine::kill(std::string_view id) const {
  const auto answer = Call{socket_, deadline_ms_}("POST", "/containers/" + percent_encode(id) + "/kill?signal=KILL");
  if (!answer) return fail(answer.error());
  // 409: it is not running; that is the wish.
  if (answer->status != 204 && answer->status != 409) return refused(*answer, "the engine does not kill the container", id);
  return {};
}

Result<> Engine::remove(std::string_view id) const {
  const auto answer = Call{socket_, deadline_ms_}("DELETE", "/containers/" + percent_encode(id) + "?force=true&v=true");
  if (!answer) return fail(answer.error());
  if (answer->status != 204 && answer->status != 200 && answer->status != 404)
    return refused(*answer, "the engine does not remove the container", id);
  return {};
}

Result<std::vector<ContainerState>> Engine::list(const std::map<std::string, std::string>& labels) const {
  json::array wanted;
  for (const auto& [name, value] : labels) wanted.emplace_back(name + "=" + value);
  const auto filters = json::serialize(json::object{{"label", wanted}});
  const auto answer = Call{socket_, deadline_ms_}("GET", "/containers/json?all=true&filters=" + percent_encode(filters));
  if (!answer) return fail(answer.error());
  if (answer->status != 200) return refused(*answer, "the engine does not list containers", socket_.string());
  const auto value = parsed(*answer, socket_.string());
  if (!value) return fail(value.error());
  std::vector<ContainerState> out;
  if (!value->is_array()) return out;
  for (const auto& item : value->get_array()) {
    if (!item.is_object()) continue;
    const auto& object = item.get_object();
    ContainerState state;
    state.id = text_at(object, "Id");
    if (const auto names = texts_at(object, "Names"); !names.empty()) state.name = names[0].substr(names[0].starts_with('/') ? 1 : 0);
    state.image = text_at(object, "ImageID");
    state.running = text_at(object, "State") == "running";
    state.labels = labels_at(object, "Labels");
    out.push_back(std::move(state));
  }
  return out;
}

Result<std::string> Engine::logs(std::string_view id) const {
  const auto answer = Call{socket_, deadline_ms_}("GET", "/containers/" + percent_encode(id) + "/logs?stdout=true&stderr=true&tail=50");
  if (!answer) return fail(answer.error());
  if (answer->status != 200) return refused(*answer, "the engine gives no logs of the container", id);
  // Frames: stream (1 byte), 3 zero bytes, length (4 bytes, big-endian), text.
  std::string out;
  const auto& body = answer->body;
  for (std::size_t at = 0; at + 8 <= body.size() && out.size() < limits::bf_message_max_bytes;) {
    const auto length = load_u32(as_bytes(body).data() + at + 4);
    out += body.substr(at + 8, length);
    at += 8 + length;
  }
  return out;
}

}  // namespace epif::bridge
