# Installs the build into a folder of its own, moves that folder (an install must not remember where it was made), then
# builds and runs the consumer against it twice: through find_package and through pkg-config.
# cmake -D BUILD_DIR= -D SOURCE_DIR= -D GENERATOR= -D CXX_COMPILER= -D LIBDIR= -P run.cmake
set(work ${BUILD_DIR}/consumer)
set(prefix ${work}/moved)
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

must("install" ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${work}/made)
file(RENAME ${work}/made ${prefix})
foreach(file include/sparsenet/session.h ${LIBDIR}/pkgconfig/sparsenet.pc share/sparsenet/model.fbs)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "not installed: ${file}")
  endif()
endforeach()

must("configure with find_package" ${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${work}/build -G ${GENERATOR}
  -D CMAKE_CXX_COMPILER=${CXX_COMPILER} -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_BUILD_TYPE=Release)
must("build with find_package" ${CMAKE_COMMAND} --build ${work}/build)
must("run of the find_package program" ${work}/build/consumer ${work}/a.snet)
message("find_package: ${output}")

find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
must("pkg-config" ${PKG_CONFIG} --cflags --libs sparsenet)
separate_arguments(flags UNIX_COMMAND "${output}")
must("build with pkg-config" ${CXX_COMPILER} -std=c++17 -O1 ${SOURCE_DIR}/main.cpp -o ${work}/consumer_pc ${flags})
set(ENV{LD_LIBRARY_PATH} ${prefix}/${LIBDIR})
must("run of the pkg-config program" ${work}/consumer_pc ${work}/b.snet)
message("pkg-config: ${output}")

foreach(program sparsenet sparsenet-convert)
  if(EXISTS ${prefix}/bin/${program})
    must("installed ${program}" ${prefix}/bin/${program} --help)
  endif()
endforeach()
