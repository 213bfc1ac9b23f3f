# Warnings are errors. Each flag stands with the class of bug that it keeps out.
add_library(epif_warnings INTERFACE)
target_compile_options(epif_warnings INTERFACE
  -Wall -Wextra -Werror      # the compiler's own consensus, enforced
  -Wpedantic                 # no accidental dependence on extensions
  -Wshadow                   # a name that hides another reads as the other
  -Wnon-virtual-dtor         # deleting through an interface must run the right destructor
  -Wold-style-cast           # every cast says what kind it is
  -Wcast-align               # wire buffers are never cast to structs
  -Woverloaded-virtual       # an override that does not override
  -Wnull-dereference         # paths on which a pointer is known to be null
  -Wformat=2                 # no user-controlled format strings
  -Wimplicit-fallthrough     # a missing break in a protocol switch
  -Wextra-semi)              # noise that hides real edits
# g++ 12 reports false positives for these inside libstdc++ and coroutine frames at -O2 (GCC bugs 105562, 105329, 107500).
target_compile_options(epif_warnings INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict -Wno-null-dereference -Wno-stringop-overflow -Wno-dangling-pointer -Wno-array-bounds -Wno-stringop-overread>)
