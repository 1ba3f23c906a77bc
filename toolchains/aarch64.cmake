# 64-bit ARM Linux: any ARMv8-A (Raspberry Pi 3 and later on a 64-bit system, Jetson, servers).
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(SPARSENET_TRIPLET aarch64-linux-gnu)
set(SPARSENET_FLAGS "")
set(SPARSENET_QEMU qemu-aarch64)
set(SPARSENET_QEMU_CPU cortex-a53)
include(${CMAKE_CURRENT_LIST_DIR}/linux-cross.cmake)
