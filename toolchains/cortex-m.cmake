# Shared by the Cortex-M targets: bare metal, newlib, single-precision floats in registers. A target's file sets
# CMAKE_SYSTEM_PROCESSOR (the value for -mcpu), SPARSENET_FPU and SPARSENET_QEMU_MACHINE and includes this.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_ASM_COMPILER arm-none-eabi-gcc)
# A program needs a linker script, which the compiler check does not have.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

set(SPARSENET_MACHINE_FLAGS "-mcpu=${CMAKE_SYSTEM_PROCESSOR} -mthumb -mfpu=${SPARSENET_FPU} -mfloat-abi=hard")
set(CMAKE_C_FLAGS_INIT "${SPARSENET_MACHINE_FLAGS} -ffunction-sections -fdata-sections")
set(CMAKE_CXX_FLAGS_INIT "${CMAKE_C_FLAGS_INIT}")
set(CMAKE_ASM_FLAGS_INIT "${SPARSENET_MACHINE_FLAGS}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--gc-sections")

# Use only programs of the host; a path that does not exist keeps CMake from falling back to /. Packages that the caller
# declares to be for this target are found too (mainly SparseNet's own installation).
set(CMAKE_FIND_ROOT_PATH /usr/lib/arm-none-eabi)
include(${CMAKE_CURRENT_LIST_DIR}/target-prefixes.cmake)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Starts a program of this target in QEMU. -icount gives a clock that counts instructions, so that a run takes the same
# "time" on any machine; semihosting passes on the program's output and exit status.
find_program(SPARSENET_QEMU_PROGRAM qemu-system-arm)
if(SPARSENET_QEMU_PROGRAM AND NOT DEFINED CMAKE_CROSSCOMPILING_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${SPARSENET_QEMU_PROGRAM} -machine ${SPARSENET_QEMU_MACHINE} -display none
      -monitor none -serial stdio -semihosting-config enable=on,target=native -icount shift=0 -kernel)
endif()
