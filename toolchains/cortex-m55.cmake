# Cortex-M55 with Helium (Alif Ensemble, Arm Corstone-300). QEMU: Arm's MPS3 board with image AN547.
set(CMAKE_SYSTEM_PROCESSOR cortex-m55)
set(SPARSENET_FPU auto)
set(SPARSENET_QEMU_MACHINE mps3-an547)
include(${CMAKE_CURRENT_LIST_DIR}/cortex-m.cmake)
