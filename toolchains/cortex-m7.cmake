# Cortex-M7 with the double-precision FPU (STM32F7x9, STM32H7, i.MX RT). QEMU: Arm's MPS2 board with image AN500.
set(CMAKE_SYSTEM_PROCESSOR cortex-m7)
set(SPARSENET_FPU fpv5-d16)
set(SPARSENET_QEMU_MACHINE mps2-an500)
include(${CMAKE_CURRENT_LIST_DIR}/cortex-m.cmake)
