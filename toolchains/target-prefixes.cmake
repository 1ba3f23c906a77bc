# Prefixes that the caller gives for packages of the target (CMAKE_PREFIX_PATH, SparseNet_ROOT, as variables or in the
# environment) become search roots in addition to the target's own. Otherwise CMake would look for them only below those
# roots, as in /usr/aarch64-linux-gnu/opt/sparsenet, and find_package would fail. Included by the toolchain files.
foreach(name CMAKE_PREFIX_PATH SparseNet_ROOT)
  set(sparsenet_prefixes $ENV{${name}})
  if(NOT CMAKE_HOST_WIN32)
    string(REPLACE ":" ";" sparsenet_prefixes "${sparsenet_prefixes}")
  endif()
  list(APPEND CMAKE_FIND_ROOT_PATH ${${name}} ${sparsenet_prefixes})
endforeach()
list(REMOVE_DUPLICATES CMAKE_FIND_ROOT_PATH)
