# Shared by the Linux targets: compiler, search paths, emulator. A target's file sets SPARSENET_TRIPLET,
# SPARSENET_FLAGS, SPARSENET_QEMU (the program) and SPARSENET_QEMU_CPU (the oldest CPU that the build supports, so that
# newer instructions are illegal in it) and includes this. CMake reads this file more than once, so it only sets
# variables and never appends.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER ${SPARSENET_TRIPLET}-gcc)
set(CMAKE_CXX_COMPILER ${SPARSENET_TRIPLET}-g++)
set(CMAKE_C_FLAGS_INIT "${SPARSENET_FLAGS}")

# Debian's and Ubuntu's cross packages put the target's headers and libraries here.
set(sparsenet_root /usr/${SPARSENET_TRIPLET})
if(EXISTS ${sparsenet_root}/include)
  set(CMAKE_FIND_ROOT_PATH ${sparsenet_root})
  # These compilers also search the host's /usr/include, last; with this root for headers they do not, so that a missing
  # header is an error here rather than on somebody else's machine.
  string(APPEND CMAKE_C_FLAGS_INIT " -isysroot ${sparsenet_root}")
endif()
include(${CMAKE_CURRENT_LIST_DIR}/target-prefixes.cmake)
string(STRIP "${CMAKE_C_FLAGS_INIT}" CMAKE_C_FLAGS_INIT)
set(CMAKE_CXX_FLAGS_INIT "${CMAKE_C_FLAGS_INIT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# ctest starts the tests with it. With a board instead: -DCMAKE_CROSSCOMPILING_EMULATOR="..." (docs/cross.md).
find_program(SPARSENET_QEMU_PROGRAM NAMES ${SPARSENET_QEMU} ${SPARSENET_QEMU}-static)
if(SPARSENET_QEMU_PROGRAM AND NOT DEFINED CMAKE_CROSSCOMPILING_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${SPARSENET_QEMU_PROGRAM} -cpu ${SPARSENET_QEMU_CPU} -L ${sparsenet_root})
endif()
