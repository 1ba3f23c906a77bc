# The warnings that all of our own code is built with; it causes none.
add_library(sparsenet_warnings INTERFACE)
target_compile_options(sparsenet_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-psabi)
# Tables of kernels name their members, which GCC takes in C++17 and Clang with a warning.
target_compile_options(sparsenet_warnings INTERFACE $<$<CXX_COMPILER_ID:Clang>:-Wno-c++20-designator>)
