#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "functions/transform.h"

/// The built-in bridging functions by name.
namespace epif::functions {

/// Judges an `open` and makes the connection's transform. An error denies the connection, with its text as the reason.
using Factory = std::function<Result<std::unique_ptr<Transform>>(const bridge::Open& open)>;

struct Entry {
  std::string_view name;
  std::string_view summary;     ///< one line for people
  std::string_view parameters;  ///< the parameters it reads, for people
};
[[nodiscard]] std::span<const Entry> catalogue();

/// Code::not_found names the functions there are.
[[nodiscard]] Result<Factory> factory(std::string_view name);

}  // namespace epif::functions
