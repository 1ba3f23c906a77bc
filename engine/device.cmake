# What a device needs to run a plan: no exceptions, no RTTI, no heap, no operating system.
set(SPARSENET_FREESTANDING_FLAGS -fno-exceptions -fno-rtti)
add_library(sparsenet_runtime OBJECT
  base/checksum.cpp
  device/integer_vectors.cpp
  device/linked_parts.cpp
  device/parts.cpp
  device/prepare.cpp
  device/run.cpp
  device/train.cpp
  runtime/bound_steps.cpp
  runtime/caches.cpp
  runtime/hook_guard.cpp
  format/stored/model_file.cpp
  step/step_check.cpp
  step/view_check.cpp
  step/quant_check.cpp
  step/linked_checks.cpp
  step/step_checks.cpp
  step/train_check.cpp
  step/window_check.cpp
  step/step_digest.cpp
  format/stored/stored_plan.cpp
  format/stored/stored_quant.cpp
  format/stored/training_plan.cpp
  kernels/reference/activation.cpp
  kernels/reference/linked_activation.cpp
  kernels/reference/layers.cpp
  kernels/reference/general.cpp
  kernels/reference/choice.cpp
  kernels/reference/mat_mul.cpp
  kernels/reference/layer_norm.cpp
  kernels/reference/integers.cpp
  kernels/reference/integer_softmax.cpp
  kernels/reference/train_layers.cpp
  kernels/reference/train_pointwise.cpp
)
target_include_directories(sparsenet_runtime PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/include)
target_compile_definitions(sparsenet_runtime PRIVATE SPARSENET_VERSION="${PROJECT_VERSION}")
target_compile_options(sparsenet_runtime PRIVATE ${SPARSENET_FREESTANDING_FLAGS})
target_link_libraries(sparsenet_runtime PRIVATE sparsenet_warnings sparsenet_schema)

# Kernels for devices with little memory: they compute one float at a time and use weights in place.
add_library(sparsenet_kernels_compact OBJECT
  kernels/compact/conv.cpp
  kernels/compact/layers.cpp
  kernels/compact/integer_conv.cpp
  kernels/compact/integer_layers.cpp
  kernels/compact/integer_pointwise.cpp
  kernels/compact/list.cpp
)
target_include_directories(sparsenet_kernels_compact PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/include)
target_compile_options(sparsenet_kernels_compact PRIVATE ${SPARSENET_FREESTANDING_FLAGS} -ffp-contract=fast)
target_link_libraries(sparsenet_kernels_compact PRIVATE sparsenet_warnings)

# Both together, as a library of its own for programs that only run plans from flash. It has all kernels for devices. If
# a program links a table written by sparsenet-convert --select-ops instead, the linker leaves out the functions that
# the table does not refer to.
add_library(sparsenet_device STATIC
  device/kernels.cpp device/compact_kernels.cpp
  $<TARGET_OBJECTS:sparsenet_runtime> $<TARGET_OBJECTS:sparsenet_kernels_compact>)
add_library(SparseNet::device ALIAS sparsenet_device)
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Generic")
  target_sources(sparsenet_device PRIVATE device/map_file.cpp)
endif()
target_include_directories(sparsenet_device
  PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
  PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_options(sparsenet_device PRIVATE ${SPARSENET_FREESTANDING_FLAGS})
target_link_libraries(sparsenet_device PRIVATE m
  $<BUILD_INTERFACE:sparsenet_warnings> $<BUILD_INTERFACE:sparsenet_schema>)
