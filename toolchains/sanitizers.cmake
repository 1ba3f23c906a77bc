# SPARSENET_SANITIZE: comma-separated list for -fsanitize=, e.g. "address,undefined" or "thread"; empty: none. Applied
# to everything in the tree, because sanitizers do not mix with code built without them. Of debug information, only the
# lines that reports name: describing variables takes nearly as long as compiling.
set(SPARSENET_SANITIZE "" CACHE STRING "Sanitizers to build with (comma-separated), e.g. address,undefined or thread")
if(SPARSENET_SANITIZE)
  add_compile_options(-fsanitize=${SPARSENET_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${SPARSENET_SANITIZE})
endif()

# Fuzz targets: only clang has libFuzzer. The engine's own sources must be instrumented too (coverage guides the
# search), but must not get libFuzzer's main(), which is only for the program in tests/fuzz, linked with
# -fsanitize=fuzzer.
option(SPARSENET_FUZZERS "Build the libFuzzer targets in tests/fuzz (clang only)" OFF)
if(SPARSENET_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SPARSENET_FUZZERS needs clang (found ${CMAKE_CXX_COMPILER_ID}): set CXX=clang++ CC=clang")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
