#include "model/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "base/limits.h"
#include "model/fields.h"
#include "model/quantity.h"
#include "model/spec.h"

namespace epif {
namespace {

bool letter_or_digit(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

Metadata read_metadata(const Field& field, Kind kind) {
  Fields fields(field);
  Metadata metadata;
  metadata.name = read_name(fields.required("name"));
  const bool machine = kind == Kind::node || kind == Kind::proxy_node;
  const auto domain = machine ? fields.required("domain") : fields.get("domain");
  if (machine) {
    metadata.domain = read_name(domain);
  } else if (domain) {
    domain.refuse(fmt::format("a {} belongs to no domain", name(kind)), "only a Node and a ProxyNode have one");
  }
  for (const auto& [label, value] : fields.get("labels").map()) metadata.labels[label] = value.text();
  metadata.version = fields.get("version").number(0, ~std::uint64_t{0});
  fields.done();
  return metadata;
}

Resource read_spec(Kind kind, const Field& spec) {
  switch (kind) {
    case Kind::domain: return read_domain(spec);
    case Kind::attributes: return read_attributes(spec);
    case Kind::bridging_function: return read_function(spec);
    case Kind::proxy_node: return read_proxy(spec);
    case Kind::node: return read_node(spec);
    case Kind::policy: return read_policy(spec);
    case Kind::consent: return read_consent(spec);
    case Kind::application: break;
  }
  return read_application(spec);
}

Result<Resource> read_document(const Tree& tree, std::string_view file) {
  Reading reading{std::string(file)};
  Fields top(Field{reading, &tree, ""});
  const auto version = top.get("apiVersion");
  if (version && version.text() != api_version) {
    version.refuse(fmt::format("'{}' is not known", version.text()), "write " + std::string(api_version));
  }
  const auto kind_field = top.required("kind");
  const auto word = kind_field.text();
  std::optional<Kind> kind;
  std::string known;
  for (const auto candidate : all_kinds) {
    if (word == name(candidate)) kind = candidate;
    known += (known.empty() ? "" : ", ") + std::string(name(candidate));
  }
  if (kind_field && !kind) kind_field.refuse(fmt::format("'{}' is not a known kind", word), "known: " + known);
  if (!kind || reading.fault) return fail(std::move(*reading.fault));

  auto metadata = read_metadata(top.required("metadata"), *kind);
  metadata.origin = reading.origin(tree);
  auto resource = read_spec(*kind, top.required("spec"));
  (void)top.get("status");
  top.done();
  if (reading.fault) return fail(std::move(*reading.fault));
  if (auto* node = std::get_if<Node>(&resource);
      node && !node->proxy.empty() && node->proxy.find('/') == std::string::npos) {
    node->proxy = metadata.domain + "/" + node->proxy;
  }
  metadata_of(resource) = std::move(metadata);
  return resource;
}

}  // namespace

std::string read_name(const Field& field) {
  auto text = field.text();
  const auto inner = [](char byte) { return letter_or_digit(byte) || byte == '.' || byte == '_' || byte == '-'; };
  if (field && (text.empty() || text.size() > 63 || !letter_or_digit(text.front()) || !letter_or_digit(text.back()) ||
                !std::ranges::all_of(text, inner))) {
    field.refuse(fmt::format("'{}' is not a name", text),
                 "1 to 63 letters, digits, '.', '_' and '-', beginning and ending with a letter or digit");
  }
  return text;
}

Result<std::vector<Resource>> parse_resources(std::string_view text, std::string_view file) {
  const auto documents = parse_yaml(text, file);
  if (!documents) return fail(documents.error());
  std::vector<Resource> resources;
  const auto take = [&](const Tree& tree) -> Result<> {
    auto resource = read_document(tree, file);
    if (!resource) return fail(std::move(resource.error()));
    resources.push_back(std::move(*resource));
    return {};
  };
  for (const auto& document : *documents) {
    if (document.kind != Tree::Kind::sequence) {
      if (auto taken = take(document); !taken) return fail(std::move(taken.error()));
      continue;
    }
    for (const auto& item : document.items) {
      if (auto taken = take(item); !taken) return fail(std::move(taken.error()));
    }
  }
  return resources;
}

Result<Resource> parse_resource(std::string_view text, std::string_view file) {
  auto resources = parse_resources(text, file);
  if (!resources) return fail(std::move(resources.error()));
  if (resources->size() != 1) {
    return fail(Code::invalid_input, fmt::format("{} resources stand here", resources->size()), std::string(file),
                "exactly one is wanted");
  }
  return std::move(resources->front());
}

}  // namespace epif
