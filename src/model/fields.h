#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/origin.h"
#include "model/tree.h"

namespace epif {

/// One document being read. The first fault stays; everything read after it is a default that nobody uses.
struct Reading {
  std::string file;
  bool plain_is_text = true;  ///< YAML: `name: 7` is the text "7". JSON: text must be quoted.
  std::optional<Error> fault{};

  void refuse(int line, int column, std::string what, std::string why = {}, std::string advice = {});
  [[nodiscard]] Origin origin(const Tree& tree) const { return {file, tree.line, tree.column}; }
};

/// A value with the path that leads to it, as in "spec.flows[0].port".
struct Field {
  Reading& reading;
  const Tree* tree;  ///< null where the field is absent
  std::string path;

  [[nodiscard]] explicit operator bool() const { return tree != nullptr; }
  void refuse(const std::string& why, std::string advice = {}) const;

  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::uint64_t number(std::uint64_t least, std::uint64_t most) const;
  [[nodiscard]] bool boolean() const;
  [[nodiscard]] std::vector<Field> list() const;
  [[nodiscard]] std::vector<std::string> texts() const;  ///< a list of text, or one text alone
  /// Map entries in the text's order; repeated keys are refused.
  [[nodiscard]] std::vector<std::pair<std::string, Field>> map() const;

  /// The text through a parser that returns Result<T>; an absent field gives T{}.
  template <class Parse>
  [[nodiscard]] auto parsed(Parse parse) const -> typename decltype(parse(std::string_view{}))::value_type {
    if (!tree) return {};
    auto value = parse(std::string_view(text()));
    if (value) return std::move(*value);
    refuse(value.error().why.empty() ? value.error().what : value.error().what + ": " + value.error().why,
           value.error().advice);
    return {};
  }

  /// One word of a closed list.
  template <class T>
  [[nodiscard]] T choice(std::initializer_list<std::pair<std::string_view, T>> words, T absent) const {
    if (!tree) return absent;
    const auto word = text();
    std::string all;
    for (const auto& [known, value] : words) {
      if (word == known) return value;
      all += (all.empty() ? "" : ", ") + std::string(known);
    }
    refuse("'" + word + "' is none of " + all);
    return absent;
  }
};

/// The fields of one map, each asked for once; those nobody asked for are refused by done().
class Fields {
 public:
  explicit Fields(const Field& map);
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  [[nodiscard]] Field get(std::string_view name);       ///< may be absent
  [[nodiscard]] Field required(std::string_view name);  ///< absence is a fault
  void done();

 private:
  const Field map_;
  std::vector<std::string_view> asked_;
};

}  // namespace epif
