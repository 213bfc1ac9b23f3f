#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/settings.h"
#include "model/assignment.h"

/// What a domain answers when an application asks: its authoriser (step 3 of Fig. 1) and its provisioner (steps 4, 5).
namespace epif::agent {

/// Granted if the Domain's rules (absent: no rules) and the machine's own rules both allow it. Pure.
[[nodiscard]] DomainAnswer authorise(const DomainRequest& request, const std::optional<std::vector<AuthoriserRule>>& domain,
                                     const LocalRules& local);

/// Checks that the engine answers and holds an image; the error says what is wrong.
using ImageCheck = std::function<Result<>(const std::string& image)>;
/// Granted if no node is withheld and every image that will run here is there.
[[nodiscard]] DomainAnswer provision(const DomainRequest& request, const LocalRules& local, const ImageCheck& image);

}  // namespace epif::agent
