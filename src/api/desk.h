#pragma once
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/kinds.h"
#include "api/server.h"
#include "base/error.h"
#include "model/resource.h"
#include "store/store.h"

namespace epif::api {

/// Where resources are handed in: reads documents, checks callers, each document, and the whole set that would result; then
/// writes everything in one transaction, or nothing. One request at a time, so that two that are good alone but not together
/// cannot both get in. Thread-safe.
class Desk {
 public:
  Desk(store::Store& store, const Kinds& kinds) : store_(store), kinds_(kinds) {}

  /// What a document becomes: unchanged ones are listed too.
  struct Applied {
    std::string kind;
    std::string name;
    enum class What { created, changed, unchanged } what = What::unchanged;
    store::Revision version = 0;
  };

  /// `text`: YAML or JSON, one or many documents of any kinds. Errors: of the model (place and field), of policies and plans
  /// (a policy here may require only attributes that the store or this text names), conflict (stale metadata.version), denied.
  [[nodiscard]] Result<std::vector<Applied>> apply(const Caller& caller, std::string_view text, std::string_view source);

  /// One document that must be of `kind` and, if not empty, named `name`. `expected` wins over metadata.version.
  [[nodiscard]] Result<Applied> put(const Caller& caller, const Kind& kind, std::string_view name, std::string_view text,
                                    std::optional<store::Revision> expected);

  /// conflict if another resource still refers to it.
  [[nodiscard]] Result<> remove(const Caller& caller, const Kind& kind, std::string_view name, std::optional<store::Revision> expected);

  /// `status`: a JSON object.
  [[nodiscard]] Result<store::Record> put_status(const Caller& caller, const Kind& kind, std::string_view name,
                                                 std::string_view status, std::optional<store::Revision> expected);

  /// Sets metadata.desired of an Application.
  [[nodiscard]] Result<store::Record> set_desired(const Caller& caller, std::string_view application, std::string_view desired);

  /// All resources of the user's kinds as the store holds them now.
  [[nodiscard]] Result<ResourceSet> stored();

 private:
  [[nodiscard]] Result<> check_answerer(const Caller& caller, const Kind& kind, std::string_view name) const;
  [[nodiscard]] Result<std::vector<store::Write>> read(const Caller& caller, std::string_view text, std::string_view source,
                                                       ResourceSet& resources);
  [[nodiscard]] Result<store::Write> read_internal(const Kind& kind, std::string_view text, std::string_view source);
  [[nodiscard]] Result<std::vector<Applied>> commit(std::span<const store::Write> writes);

  std::mutex mutex_;
  store::Store& store_;
  const Kinds& kinds_;
};

/// Everything that must hold of a set before it is stored: references, policy texts, ids unique over all policies, and no
/// cycle in the order of functions.
[[nodiscard]] Result<> check_set(const ResourceSet& resources);

/// The store's write for a resource of the user's kinds; metadata.version becomes `expected`.
[[nodiscard]] store::Write to_write(const Resource& resource);

}  // namespace epif::api
