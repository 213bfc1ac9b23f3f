#pragma once
#include <map>
#include <string>

namespace epif::net {

/// When a thread that carries bytes gets a core, once there is something to carry.
enum class Turns {
  batch,  ///< after whoever sends to it has done what it is at: then several messages wait, and one turn serves them all
  usual,  ///< as the kernel's policy for all: often at once, in the middle of what the sender does
};

/// By the words of the command line.
inline const std::map<std::string, Turns> turns_words{{"batch", Turns::batch}, {"usual", Turns::usual}};

/// For the calling thread, and the processes that it starts. A policy that somebody has chosen for this process stays (chrt).
void take_turns(Turns turns);

}  // namespace epif::net
