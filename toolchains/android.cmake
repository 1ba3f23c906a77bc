# Android through the NDK's own toolchain file. Untested: written from the NDK's documentation, never used for a build.
#
#   ANDROID_NDK=... cmake -S . -B build/android -G Ninja -DCMAKE_TOOLCHAIN_FILE=toolchains/android.cmake \
#     -DSPARSENET_ONEDNN=OFF -DSPARSENET_CONVERTER=OFF -DSPARSENET_APPS=OFF -DSPARSENET_TESTS=OFF
#
# ANDROID_ABI (arm64-v8a) and ANDROID_PLATFORM (android-24) are the NDK's; give other values with -D.
if(NOT ANDROID_NDK)
  set(ANDROID_NDK "$ENV{ANDROID_NDK}")
endif()
if(NOT ANDROID_NDK)
  message(FATAL_ERROR "toolchains/android.cmake: no NDK given. Set ANDROID_NDK, as an environment variable or with -D, "
                      "to its folder, the one that holds build/cmake/android.toolchain.cmake.")
endif()
if(NOT EXISTS "${ANDROID_NDK}/build/cmake/android.toolchain.cmake")
  message(FATAL_ERROR "toolchains/android.cmake: ANDROID_NDK is '${ANDROID_NDK}', where there is no "
                      "build/cmake/android.toolchain.cmake.")
endif()
# Compiler checks configure separate projects, which see the environment but not this project's variables.
set(ENV{ANDROID_NDK} "${ANDROID_NDK}")
if(NOT ANDROID_ABI)
  set(ANDROID_ABI arm64-v8a)
endif()
if(NOT ANDROID_PLATFORM)
  set(ANDROID_PLATFORM android-24)
endif()
include("${ANDROID_NDK}/build/cmake/android.toolchain.cmake")
