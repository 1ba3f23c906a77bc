# Cortex-M4F: single-precision FPU (STM32F4, nRF52, SAM D5x). QEMU: Arm's MPS2 board with image AN386.
set(CMAKE_SYSTEM_PROCESSOR cortex-m4)
set(SPARSENET_FPU fpv4-sp-d16)
set(SPARSENET_QEMU_MACHINE mps2-an386)
include(${CMAKE_CURRENT_LIST_DIR}/cortex-m.cmake)
