#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <istream>
#include <span>
#include <spanstream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "model/tree.h"

namespace epif {
namespace {

/// Leaves the parser early; never passes parse_yaml.
struct Refusal {
  YAML::Mark mark;
  std::string what;
  std::string advice;
};

/// Builds trees from the parser's events. Working on events, not on yaml-cpp's nodes, keeps places for everything and
/// lets aliases be refused before they multiply.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(std::string_view text) : text_(text) {}

  std::vector<Tree> documents;

  void OnDocumentStart(const YAML::Mark&) override {
    root_ = {};
    have_root_ = false;
  }
  void OnDocumentEnd() override {
    if (have_root_ && root_.kind != Tree::Kind::null) documents.push_back(std::move(root_));
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    place(mark, anchor, "", make(Tree::Kind::null, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse_sharing(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    auto tree = make(Tree::Kind::scalar, mark);
    tree.scalar = value;
    tree.quoted = tag == "!";
    if (tree.quoted) skip_block_header(mark, tree);
    place(mark, anchor, tag, std::move(tree));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, tag, Tree::Kind::sequence);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, tag, Tree::Kind::map);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    Tree tree;
    bool have_key = false;
    Tree::Entry entry;
  };

  static Tree make(Tree::Kind kind, const YAML::Mark& mark) {
    Tree tree;
    tree.kind = kind;
    tree.line = mark.line + 1;
    tree.column = mark.column + 1;
    return tree;
  }

  /// yaml-cpp gives a block scalar's "|" as its place; what is wanted is the first line of its text.
  void skip_block_header(const YAML::Mark& mark, Tree& tree) const {
    const auto at = static_cast<std::size_t>(mark.pos);
    if (at >= text_.size() || (text_[at] != '|' && text_[at] != '>')) return;
    const auto line_end = text_.find('\n', at);
    if (line_end == std::string_view::npos) return;
    const auto first = text_.find_first_not_of(' ', line_end + 1);
    ++tree.line;
    tree.column = static_cast<int>((first == std::string_view::npos ? text_.size() : first) - line_end);
  }

  [[noreturn]] static void refuse_sharing(const YAML::Mark& mark) {
    throw Refusal{mark, "YAML anchors and aliases are not accepted", "write the value out"};
  }

  static void check_marks(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag) {
    if (anchor != YAML::NullAnchor) refuse_sharing(mark);
    if (!tag.empty() && tag != "?" && tag != "!") throw Refusal{mark, "YAML tags are not accepted", "remove '" + tag + "'"};
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag, Tree::Kind kind) {
    check_marks(mark, anchor, tag);
    if (levels_.size() >= limits::document_depth) {
      throw Refusal{mark, "the document is nested deeper than " + std::to_string(limits::document_depth) + " levels", ""};
    }
    if (wants_key()) throw Refusal{mark, "a key must be plain text", "write KEY: VALUE"};
    levels_.push_back({make(kind, mark), false, {}});
  }

  void close() {
    auto tree = std::move(levels_.back().tree);
    levels_.pop_back();
    attach(std::move(tree));
  }

  [[nodiscard]] bool wants_key() const {
    return !levels_.empty() && levels_.back().tree.kind == Tree::Kind::map && !levels_.back().have_key;
  }

  void place(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag, Tree tree) {
    check_marks(mark, anchor, tag);
    if (!wants_key()) return attach(std::move(tree));
    if (tree.kind != Tree::Kind::scalar) throw Refusal{mark, "a key is empty", "write KEY: VALUE"};
    auto& level = levels_.back();
    level.entry = {std::move(tree.scalar), tree.line, tree.column, {}};
    level.have_key = true;
  }

  void attach(Tree tree) {
    if (levels_.empty()) {
      root_ = std::move(tree);
      have_root_ = true;
      return;
    }
    auto& level = levels_.back();
    if (level.tree.kind == Tree::Kind::sequence) {
      level.tree.items.push_back(std::move(tree));
      return;
    }
    level.entry.value = std::move(tree);
    level.tree.entries.push_back(std::move(level.entry));
    level.have_key = false;
  }

  std::string_view text_;
  std::vector<Level> levels_;
  Tree root_;
  bool have_root_ = false;
};

/// Length of the UTF-8 sequence at the front (RFC 3629: no overlong forms, no surrogates), 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const auto first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const std::size_t length = first <= 0xdf ? 2 : first <= 0xef ? 3 : 4;
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool outside = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || outside ? 0 : length;
}

/// Checked before anything else: yaml-cpp would put other characters in the place of what is no UTF-8.
Result<> check_utf8(std::string_view text, std::string_view file) {
  int line = 1;
  std::size_t line_begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto length = utf8_length(text.substr(at, 4));
    if (length == 0 || text[at] == '\0') {
      return fail(Code::invalid_input, "the document is not text",
                  Origin{std::string(file), line, static_cast<int>(at - line_begin + 1)}.text(),
                  length == 0 ? "a byte is not UTF-8" : "it holds a zero byte", "save it as UTF-8");
    }
    if (text[at] == '\n') {
      ++line;
      line_begin = at + 1;
    }
    at += length;
  }
  return {};
}

std::string place_text(std::string_view file, const YAML::Mark& mark) {
  return mark.is_null() ? std::string(file) : Origin{std::string(file), mark.line + 1, mark.column + 1}.text();
}

}  // namespace

Result<std::vector<Tree>> parse_yaml(std::string_view text, std::string_view file) {
  if (text.size() > limits::document_max_bytes) {
    return fail(Code::limit, fmt::format("the document has {} bytes", text.size()), std::string(file),
                fmt::format("at most {} are accepted", limits::document_max_bytes), "split it into several files");
  }
  if (auto sound = check_utf8(text, file); !sound) return fail(std::move(sound.error()));
  // yaml-cpp reports through exceptions; none leaves this function.
  try {
    std::ispanstream stream{std::span(text.data(), text.size())};
    YAML::Parser parser(stream);
    Builder builder(text);
    while (parser.HandleNextDocument(builder)) {
    }
    return std::move(builder.documents);
  } catch (const Refusal& refusal) {
    return fail(Code::invalid_input, refusal.what, place_text(file, refusal.mark), {}, refusal.advice);
  } catch (const YAML::Exception& error) {
    return fail(Code::invalid_input, "not well-formed YAML", place_text(file, error.mark), error.msg);
  }
}

}  // namespace epif
