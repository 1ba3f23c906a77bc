# Prefixes that the caller names for packages of the target (CMAKE_PREFIX_PATH, SparseNet_ROOT, as variables or in the
# environment) become roots to search, beside the target's own. Without that CMake would look for them below those
# roots only, as /usr/aarch64-linux-gnu/opt/sparsenet, and find_package would fail. Included by the toolchain files.
foreach(name CMAKE_PREFIX_PATH SparseNet_ROOT)
  set(sparsenet_prefixes $ENV{${name}})
  if(NOT CMAKE_HOST_WIN32)
    string(REPLACE ":" ";" sparsenet_prefixes "${sparsenet_prefixes}")
  endif()
  list(APPEND CMAKE_FIND_ROOT_PATH ${${name}} ${sparsenet_prefixes})
endforeach()
list(REMOVE_DUPLICATES CMAKE_FIND_ROOT_PATH)
