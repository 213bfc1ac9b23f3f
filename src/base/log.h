#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

/// Structured log lines on stderr: `time level part message key=value ...`. Thread-safe; never given secrets.
namespace epif::log {

enum class Level { debug, info, warn, error };
using Field = std::pair<std::string_view, std::string>;

/// Lines below `level` are dropped. Default info; EPIF_LOG=debug|info|warn|error sets it at start.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);

/// `part` is the module's name ("proxy", "agent"). Values with spaces are quoted; control characters are escaped, so a
/// hostile name cannot forge a line.
void write(Level level, std::string_view part, std::string_view message, std::initializer_list<Field> fields = {});

inline void debug(std::string_view part, std::string_view message, std::initializer_list<Field> fields = {}) {
  if (enabled(Level::debug)) write(Level::debug, part, message, fields);
}
inline void info(std::string_view part, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::info, part, message, fields);
}
inline void warn(std::string_view part, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::warn, part, message, fields);
}
inline void error(std::string_view part, const Error& error, std::initializer_list<Field> fields = {}) {
  write(Level::error, part, std::string(name(error.code)) + ": " + error.text(), fields);
}

}  // namespace epif::log
