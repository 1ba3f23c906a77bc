# 32-bit ARM Linux, hard-float, with NEON and fused multiply-add: Cortex-A7 and A15 and later (not Cortex-A8 or A9,
# whose NEON has no FMA: for these, -mfpu=neon).
set(CMAKE_SYSTEM_PROCESSOR armv7-a)
set(SPARSENET_TRIPLET arm-linux-gnueabihf)
set(SPARSENET_QEMU qemu-arm)
set(SPARSENET_QEMU_CPU cortex-a7)
set(SPARSENET_FLAGS "-march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard")
include(${CMAKE_CURRENT_LIST_DIR}/linux-cross.cmake)
