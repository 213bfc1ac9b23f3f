#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>

#include <cstdlib>

namespace epif::log {
namespace {

Level level_from_environment() {
  const char* wanted = std::getenv("EPIF_LOG");
  const std::string_view word = wanted == nullptr ? "info" : wanted;
  if (word == "debug") return Level::debug;
  if (word == "warn") return Level::warn;
  if (word == "error") return Level::error;
  return Level::info;
}

std::atomic<Level>& threshold() {
  static std::atomic<Level> level{level_from_environment()};
  return level;
}

spdlog::logger& sink() {
  static const auto logger = [] {
    auto made = std::make_shared<spdlog::logger>("epif", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

void append_escaped(std::string& line, std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      line += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      if (c == '"' || c == '\\') line += '\\';
      line += c;
    }
  }
}

}  // namespace

void set_level(Level level) { threshold().store(level, std::memory_order_relaxed); }
bool enabled(Level level) { return level >= threshold().load(std::memory_order_relaxed); }

void write(Level level, std::string_view part, std::string_view message, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  std::string line(part);
  line += ' ';
  append_escaped(line, message);
  for (const auto& [key, value] : fields) {
    line += ' ';
    line += key;
    line += '=';
    const bool quote = value.empty() || value.find_first_of(" \"=\\") != std::string::npos;
    if (quote) line += '"';
    append_escaped(line, value);
    if (quote) line += '"';
  }
  static constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                         spdlog::level::err};
  sink().log(levels[static_cast<int>(level)], line);
}

}  // namespace epif::log
