# The warnings that all of our own code is built with; it causes none.
add_library(sparsenet_warnings INTERFACE)
target_compile_options(sparsenet_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-psabi)
