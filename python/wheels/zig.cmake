# Zig's C and C++ compiler, from PyPI's package ziglang: it has the C library of any version with it, so that a wheel runs
# on systems that are older than the machine that builds it, and on other processors. Set by the caller: SPARSENET_ZIG_BIN
# (folder of the commands cc, c++, ar and ranlib), SPARSENET_ZIG_ARCH (x86_64, aarch64), SPARSENET_ZIG_PREFIX (folder of
# the libraries for that machine).
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SPARSENET_ZIG_BIN SPARSENET_ZIG_ARCH SPARSENET_ZIG_PREFIX)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${SPARSENET_ZIG_ARCH})
set(CMAKE_CROSSCOMPILING TRUE)
set(CMAKE_C_COMPILER ${SPARSENET_ZIG_BIN}/cc)
set(CMAKE_CXX_COMPILER ${SPARSENET_ZIG_BIN}/c++)
set(CMAKE_AR ${SPARSENET_ZIG_BIN}/ar CACHE FILEPATH "")
set(CMAKE_RANLIB ${SPARSENET_ZIG_BIN}/ranlib CACHE FILEPATH "")
set(CMAKE_FIND_ROOT_PATH ${SPARSENET_ZIG_PREFIX})
set(CMAKE_PREFIX_PATH ${SPARSENET_ZIG_PREFIX})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
