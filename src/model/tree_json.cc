#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "model/tree.h"

namespace epif {
namespace {

namespace json = boost::json;

/// Builds a tree from Boost.JSON's events (the `Handler` concept of basic_parser). Keeps repeated keys, which
/// boost::json::object would drop in silence.
struct Handler {
  static constexpr std::size_t max_object_size = ~std::size_t{0};
  static constexpr std::size_t max_array_size = ~std::size_t{0};
  static constexpr std::size_t max_key_size = 4096;
  static constexpr std::size_t max_string_size = ~std::size_t{0};

  struct Level {
    Tree tree;
    Tree::Entry entry;
  };
  std::vector<Level> levels;
  Tree root;
  std::string part;
  int line = 1;

  bool open(Tree::Kind kind) {
    Level level;
    level.tree.kind = kind;
    level.tree.line = line;
    levels.push_back(std::move(level));
    return true;
  }
  bool close() {
    auto tree = std::move(levels.back().tree);
    levels.pop_back();
    return attach(std::move(tree));
  }
  bool attach(Tree tree) {
    if (levels.empty()) {
      root = std::move(tree);
      return true;
    }
    auto& level = levels.back();
    if (level.tree.kind == Tree::Kind::sequence) {
      level.tree.items.push_back(std::move(tree));
    } else {
      level.entry.value = std::move(tree);
      level.tree.entries.push_back(std::move(level.entry));
    }
    return true;
  }
  bool scalar(std::string text, bool quoted) {
    Tree tree;
    tree.kind = Tree::Kind::scalar;
    tree.scalar = std::move(text);
    tree.quoted = quoted;
    tree.line = line;
    return attach(std::move(tree));
  }
  bool add_part(json::string_view text) {
    part.append(text.data(), text.size());
    return true;
  }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return open(Tree::Kind::map); }
  bool on_object_end(std::size_t, json::error_code&) { return close(); }
  bool on_array_begin(json::error_code&) { return open(Tree::Kind::sequence); }
  bool on_array_end(std::size_t, json::error_code&) { return close(); }
  bool on_key_part(json::string_view text, std::size_t, json::error_code&) { return add_part(text); }
  bool on_key(json::string_view text, std::size_t, json::error_code&) {
    add_part(text);
    levels.back().entry = {std::exchange(part, {}), line, 0, {}};
    return true;
  }
  bool on_string_part(json::string_view text, std::size_t, json::error_code&) { return add_part(text); }
  bool on_string(json::string_view text, std::size_t, json::error_code&) {
    add_part(text);
    return scalar(std::exchange(part, {}), true);
  }
  // A number's text comes in pieces; the value that Boost made of it would lose digits beyond 64 bits.
  bool on_number_part(json::string_view text, json::error_code&) { return add_part(text); }
  bool number(json::string_view text) {
    add_part(text);
    return scalar(std::exchange(part, {}), false);
  }
  bool on_int64(std::int64_t, json::string_view text, json::error_code&) { return number(text); }
  bool on_uint64(std::uint64_t, json::string_view text, json::error_code&) { return number(text); }
  bool on_double(double, json::string_view text, json::error_code&) { return number(text); }
  bool on_bool(bool value, json::error_code&) { return scalar(value ? "true" : "false", false); }
  bool on_null(json::error_code&) {
    Tree tree;
    tree.line = line;
    return attach(std::move(tree));
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }
};

std::unexpected<Error> syntax_error(std::string_view file, int line, std::size_t column, const std::string& why) {
  return fail(Code::invalid_input, "not well-formed JSON", Origin{std::string(file), line, static_cast<int>(column)}.text(),
              why);
}

}  // namespace

Result<Tree> parse_json(std::string_view text, std::string_view file, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return fail(Code::limit, fmt::format("the document has {} bytes", text.size()), std::string(file),
                fmt::format("at most {} are accepted", max_bytes));
  }
  json::parse_options options;
  options.max_depth = limits::document_depth;
  json::basic_parser<Handler> parser(options);
  // Fed line by line, so that every event knows its line.
  std::size_t line_begin = 0;
  std::size_t last_column = 1;
  while (line_begin < text.size()) {
    const auto newline = text.find('\n', line_begin);
    const auto line_end = newline == std::string_view::npos ? text.size() : newline + 1;
    const auto line = text.substr(line_begin, line_end - line_begin);
    json::error_code failure;
    const auto used = parser.write_some(true, line.data(), line.size(), failure);
    if (failure) return syntax_error(file, parser.handler().line, used + 1, failure.message());
    if (used < line.size()) {
      const auto rest = line.substr(used).find_first_not_of(" \t\r\n");
      if (rest != std::string_view::npos) {
        return syntax_error(file, parser.handler().line, used + rest + 1, "text after the end of the document");
      }
    }
    last_column = line.size() + 1;
    line_begin = line_end;
    if (newline != std::string_view::npos) {
      ++parser.handler().line;
      last_column = 1;
    }
  }
  json::error_code failure;
  parser.write_some(false, "", 0, failure);
  if (failure) return syntax_error(file, parser.handler().line, last_column, failure.message());
  return std::move(parser.handler().root);
}

}  // namespace epif
