# 64-bit RISC-V Linux, RV64GC: without vectors, which GCC supports from version 14 on (docs/cross.md).
set(CMAKE_SYSTEM_PROCESSOR riscv64)
set(SPARSENET_TRIPLET riscv64-linux-gnu)
set(SPARSENET_FLAGS "")
set(SPARSENET_QEMU qemu-riscv64)
set(SPARSENET_QEMU_CPU rv64)
include(${CMAKE_CURRENT_LIST_DIR}/linux-cross.cmake)
