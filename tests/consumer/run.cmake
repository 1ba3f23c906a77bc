# Installs a build into a separate folder, moves that folder (an installation must not depend on where it was made),
# then builds and runs programs against it, in every way that the documents describe: find_package from C++ and from C
# alone, pkg-config for both, a model as a C array with a table of its kernels; for a board, a firmware.
#
# cmake -D BUILD_DIR= -D SOURCE_DIR= -D GENERATOR= -D C_COMPILER= -D CXX_COMPILER= -D LIBDIR= -P run.cmake
#   -D TOOLCHAIN=   for another machine, name of the toolchain file, of which the installed copy is used
#   -D EMULATOR=    how programs are started
#   -D CONVERTER=   a sparsenet-convert for this machine; if the installation has one, that is used
#   -D BOARD=       for a board, the folder with the board's files
separate_arguments(EMULATOR UNIX_COMMAND "${EMULATOR}")
set(projects ${CMAKE_CURRENT_LIST_DIR})
set(work ${BUILD_DIR}/consumer)
set(prefix ${work}/moved)
set(model ${SOURCE_DIR}/models/sparsenet-abc-v0.snet)
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})

function(must what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed (${result}):\n${output}")
  endif()
  string(STRIP "${output}" output)
  set(output "${output}" PARENT_SCOPE)
endfunction()

# run(NAME PROGRAM ARGUMENTS...)
function(run what)
  must("run of the ${what} program" ${EMULATOR} ${ARGN})
  message("${what}: ${output}")
endfunction()

must("install" ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${work}/made)
file(RENAME ${work}/made ${prefix})
set(files include/sparsenet/sparsenet.h ${LIBDIR}/libsparsenet_device.a ${LIBDIR}/pkgconfig/sparsenet_device.pc
  ${LIBDIR}/cmake/SparseNet/SparseNetConfig.cmake share/sparsenet/model.fbs)
if(NOT BOARD)
  list(APPEND files include/sparsenet/session.h include/sparsenet/plugin.h include/sparsenet/host.h ${LIBDIR}/pkgconfig/sparsenet.pc)
endif()
if(TOOLCHAIN)
  list(APPEND files share/sparsenet/toolchains/${TOOLCHAIN})
endif()
foreach(file IN LISTS files)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "not installed: ${file}")
  endif()
endforeach()

set(tools -D CMAKE_C_COMPILER=${C_COMPILER} -D CMAKE_CXX_COMPILER=${CXX_COMPILER})
if(TOOLCHAIN)
  set(tools -D CMAKE_TOOLCHAIN_FILE=${prefix}/share/sparsenet/toolchains/${TOOLCHAIN})
endif()
# build(NAME PROJECT OPTIONS...): into work/NAME, through find_package
function(build name project)
  must("configuration of ${name}" ${CMAKE_COMMAND} -S ${projects}/${project} -B ${work}/${name} -G ${GENERATOR} ${tools}
    -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_BUILD_TYPE=Release ${ARGN})
  must("build of ${name}" ${CMAKE_COMMAND} --build ${work}/${name})
endfunction()

if(EXISTS ${prefix}/bin/sparsenet-convert)
  set(CONVERTER ${prefix}/bin/sparsenet-convert)
endif()
set(generated ${work}/generated)
if(CONVERTER AND EXISTS "${CONVERTER}")
  must("sparsenet-convert --c-array" ${CONVERTER} ${model} -o ${work}/net.snet --c-array ${generated}
    --select-ops ${generated})
endif()

# Stores what pkg-config says about a package in `flags`.
find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_LIBDIR} ${prefix}/${LIBDIR}/pkgconfig)
set(ENV{PKG_CONFIG_PATH} "")
macro(ask_pkg_config)
  must("pkg-config ${ARGV}" ${PKG_CONFIG} --cflags --libs ${ARGV})
  separate_arguments(flags UNIX_COMMAND "${output}")
endmacro()

if(BOARD)
  if(NOT EXISTS ${generated}/net.h)
    message(FATAL_ERROR "no sparsenet-convert")
  endif()
  build(board board_project -D BOARD=${BOARD} -D GENERATED=${generated})
  if(EMULATOR)
    run("find_package, board" ${work}/board/board)
  endif()
  # The same by hand, as in a project without CMake.
  ask_pkg_config(sparsenet_device)
  must("build with pkg-config for a board" ${CXX_COMPILER} -std=c++17 -Os -fno-exceptions -fno-rtti
    -I${BOARD} -I${generated} ${projects}/board_project/main.cpp ${BOARD}/board_mps2.cpp ${BOARD}/print.cpp
    ${generated}/sparsenet_kernels.cpp -x c ${generated}/net.c -x none ${flags} -nostartfiles --specs=nano.specs
    -L${BOARD} -T${BOARD}/mps2.ld -o ${work}/board_pc)
  if(EMULATOR)
    run("pkg-config, board" ${work}/board_pc)
  endif()
  return()
endif()

# Installed plugins are found, also after the installation has been moved.
set(plugin ${prefix}/${LIBDIR}/sparsenet/libsparsenet_cuda.so)
if(EXISTS ${prefix}/bin/sparsenet AND EXISTS ${plugin})
  must("sparsenet devices" ${EMULATOR} ${prefix}/bin/sparsenet devices)
  string(FIND "${output}" "${plugin}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "sparsenet devices: expected the plugin ${plugin}")
  endif()
endif()

build(cxx cxx_project)
run("find_package, C++" ${work}/cxx/consumer ${work}/a.snet)
build(c c_project)
run("find_package, C" ${work}/c/with_sparsenet ${model})
run("find_package, C, device library" ${work}/c/with_device ${model})

set(ENV{LD_LIBRARY_PATH} ${prefix}/${LIBDIR})
ask_pkg_config(sparsenet)
must("build with pkg-config" ${CXX_COMPILER} -std=c++17 -O1 ${projects}/cxx_project/main.cpp -o ${work}/pc ${flags})
run("pkg-config, C++" ${work}/pc ${work}/b.snet)
set(main ${projects}/c_project/main.c)
foreach(package "sparsenet" "--static;sparsenet" "sparsenet_device")
  ask_pkg_config(${package})
  must("build with pkg-config ${package}" ${C_COMPILER} -std=c11 -O1 ${main} -o ${work}/pc ${flags})
  run("pkg-config ${package}, C" ${work}/pc ${model})
endforeach()

if(EXISTS ${generated}/net.h)
  ask_pkg_config(sparsenet_device)
  must("kernel table" ${CXX_COMPILER} -std=c++11 -Wall -Wextra -Werror -c ${generated}/sparsenet_kernels.cpp
    -o ${work}/kernels.o)
  must("build of a C array" ${C_COMPILER} -std=c11 -O1 -I${generated} ${projects}/c_project/array.c ${generated}/net.c
    ${work}/kernels.o -o ${work}/array ${flags})
  run("C array" ${work}/array)

  # A table has the kernels and activations of its own network, and not those of another.
  must("sparsenet-convert of other activations" ${CONVERTER}
    ${SOURCE_DIR}/tests/goldens/data/graphs/smooth-activations.onnx -o ${work}/smooth.snet --plan portable-f32
    --test-vectors 1 --select-ops ${work}/smooth)
  must("table of other activations" ${CXX_COMPILER} -std=c++11 -Wall -Wextra -Werror
    -c ${work}/smooth/sparsenet_kernels.cpp -o ${work}/smooth.o)
  foreach(table smooth kernels)
    must("build with the table ${table}" ${C_COMPILER} -std=c11 -O1 ${main} ${work}/${table}.o -o ${work}/with_${table}
      ${flags})
  endforeach()
  run("a table of its own" ${work}/with_smooth ${work}/smooth.snet)
  execute_process(COMMAND ${EMULATOR} ${work}/with_kernels ${work}/smooth.snet RESULT_VARIABLE result
    ERROR_VARIABLE message)
  if(result EQUAL 0 OR NOT message MATCHES "(an activation that is not linked|no linked kernel serves for it)")
    message(FATAL_ERROR "what is not linked: expected a refusal, found ${result}: ${message}")
  endif()
endif()

foreach(program sparsenet sparsenet-convert sparsenet-mlperf-tiny)
  if(EXISTS ${prefix}/bin/${program})
    must("installed ${program}" ${prefix}/bin/${program} --help)
  endif()
endforeach()
