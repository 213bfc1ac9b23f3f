find_package(GTest REQUIRED)
include(GoogleTest)
find_package(Threads REQUIRED)

add_library(epif_flags INTERFACE)
target_link_libraries(epif_flags INTERFACE epif_warnings epif_hardening Threads::Threads)
target_include_directories(epif_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)

# epif_pch(target): standard headers are compiled once, in epif_base, and reused by all.
function(epif_pch target)
  if(NOT EPIF_PCH)
    return()
  endif()
  if(target STREQUAL epif_base)
    target_precompile_headers(epif_base PRIVATE ${CMAKE_SOURCE_DIR}/src/base/pch.h)
  else()
    target_precompile_headers(${target} REUSE_FROM epif_base)
  endif()
endfunction()

# epif_test_pch(target): the same with GoogleTest's headers, for all test programs. At -O1: a test is compiled oftener than run.
function(epif_test_pch target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(NOT EPIF_PCH)
    return()
  endif()
  if(NOT TARGET epif_test_headers)
    if(NOT EXISTS ${CMAKE_BINARY_DIR}/test_headers.cc)
      file(WRITE ${CMAKE_BINARY_DIR}/test_headers.cc "")
    endif()
    add_library(epif_test_headers OBJECT ${CMAKE_BINARY_DIR}/test_headers.cc)
    target_compile_options(epif_test_headers PRIVATE $<$<CONFIG:Release>:-O1>)
    target_link_libraries(epif_test_headers PRIVATE epif_base epif_flags GTest::gtest GTest::gmock)
    target_precompile_headers(epif_test_headers PRIVATE ${CMAKE_SOURCE_DIR}/src/base/pch.h <gmock/gmock.h> <gtest/gtest.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM epif_test_headers)
endfunction()

# epif_unity(target files): compiles that many source files as one. Their nameless namespaces are one then, too.
function(epif_unity target files)
  if(EPIF_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${files})
  endif()
endfunction()

# epif_module(name DEPENDS modules... LINKS libraries...): src/<name>/*.cc becomes the library epif_<name>, and
# src/<name>/*_test.cc the test program <name>_test. DEPENDS is the layering; tests/layering checks includes against it.
function(epif_module name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_DEPENDS PREPEND epif_)
  if(sources)
    add_library(epif_${name} STATIC ${sources})
    target_link_libraries(epif_${name} PUBLIC ${ARG_DEPENDS} ${ARG_LINKS} PRIVATE epif_flags)
    target_include_directories(epif_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    epif_pch(epif_${name})
  else()
    add_library(epif_${name} INTERFACE)
    target_link_libraries(epif_${name} INTERFACE ${ARG_DEPENDS} ${ARG_LINKS})
  endif()
  if(tests AND NOT EPIF_FUZZ)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE epif_${name} epif_flags GTest::gtest GTest::gmock GTest::gtest_main)
    epif_test_pch(${name}_test)
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  endif()
endfunction()

# epif_bpf(module name): src/<module>/<name>.bpf.c becomes a program for the kernel, which src/<module>/<name>.cc holds as it is, by
# the path in the macro EPIF_<NAME>.
find_program(EPIF_BPF_CLANG NAMES clang-19 clang REQUIRED)
function(epif_bpf module name)
  set(source ${CMAKE_SOURCE_DIR}/src/${module}/${name}.bpf.c)
  set(object ${CMAKE_BINARY_DIR}/${name}.bpf.o)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${module}/${name}*.h)
  add_custom_command(OUTPUT ${object} DEPENDS ${source} ${headers}
    COMMAND ${EPIF_BPF_CLANG} -target bpf -mcpu=v2 -O2 -g -Wall -Werror -I${CMAKE_SOURCE_DIR}/src
            -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -c ${source} -o ${object}
    VERBATIM)
  string(TOUPPER ${name} macro)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/${module}/${name}.cc PROPERTIES
    OBJECT_DEPENDS ${object} COMPILE_DEFINITIONS EPIF_${macro}="${object}")
endfunction()
