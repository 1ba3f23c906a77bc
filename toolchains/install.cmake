# `cmake --install`: headers, libraries, programs and the file's schema, and how other projects find them: a CMake
# package (find_package(SparseNet)) and pkg-config files. tests/consumer builds programs in all these ways, against real
# installations. The programs have their own install rules. A build without an operating system installs only the device
# library.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/SparseNet)
set(libraries sparsenet_device)
set_target_properties(sparsenet_device PROPERTIES EXPORT_NAME device)
if(TARGET sparsenet)
  list(APPEND libraries sparsenet)
  target_compile_features(sparsenet PUBLIC cxx_std_17)
  set_target_properties(sparsenet PROPERTIES EXPORT_NAME sparsenet VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  if(BUILD_SHARED_LIBS)
    # The headers do not mark exported symbols individually, so a shared library exports everything in namespace
    # sparsenet.
    set_target_properties(sparsenet PROPERTIES CXX_VISIBILITY_PRESET default)
  endif()
endif()

# A static library passes its dependencies on to the program. Which of the possible dependencies this build has is taken
# from the target itself, so that there is no second list to maintain.
set(dependencies "")
set(private_libs "")
set(links "")
if(TARGET sparsenet)
  get_target_property(links sparsenet LINK_LIBRARIES)
  list(FILTER links EXCLUDE REGEX "BUILD_INTERFACE")  # needed to build it, not to use it
endif()
if("${links}" MATCHES "Threads::Threads")
  string(APPEND dependencies "find_dependency(Threads)\n")
  list(APPEND private_libs -pthread)
endif()
if("${links}" MATCHES "OpenMP::OpenMP_CXX")
  string(APPEND dependencies "sparsenet_find_openmp()\n")
  list(APPEND private_libs ${OpenMP_CXX_FLAGS})
endif()
if("${links}" MATCHES "OneDNN::dnnl")
  string(APPEND dependencies "find_dependency(OneDNN)\n")
  list(APPEND private_libs -ldnnl)
endif()
if("${links}" MATCHES "Eigen3::Eigen")
  string(APPEND dependencies "find_dependency(Eigen3)\n")
endif()
if("${links}" MATCHES "CMAKE_DL_LIBS|(^|;)dl(;|$)")
  list(APPEND private_libs -ldl)
endif()
# What a C++ compiler links automatically and a C compiler does not: for C programs that link the static library.
set(cxx_runtime ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
if(CMAKE_C_IMPLICIT_LINK_LIBRARIES)
  list(REMOVE_ITEM cxx_runtime ${CMAKE_C_IMPLICIT_LINK_LIBRARIES})
endif()
list(REMOVE_DUPLICATES cxx_runtime)
foreach(library IN LISTS cxx_runtime)
  list(APPEND private_libs -l${library})
endforeach()
if(BUILD_SHARED_LIBS)
  set(dependencies "")
  set(cxx_runtime "")
endif()

install(TARGETS ${libraries} EXPORT SparseNetTargets ARCHIVE LIBRARY RUNTIME)
if(TARGET sparsenet)
  install(DIRECTORY engine/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
else()
  install(FILES engine/include/sparsenet/sparsenet.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/sparsenet)
endif()
install(FILES schemas/model.fbs DESTINATION ${CMAKE_INSTALL_DATADIR}/sparsenet)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT SparseNetTargets NAMESPACE SparseNet:: DESTINATION ${config_dir})
if(CMAKE_CROSSCOMPILING)
  # Programs that link a library for another machine are built with the same toolchain file, or a similar one.
  set(toolchain_files toolchains/aarch64.cmake toolchains/armhf.cmake toolchains/riscv64.cmake
    toolchains/riscv64-vector.cmake
    toolchains/linux-cross.cmake toolchains/target-prefixes.cmake toolchains/android.cmake toolchains/cortex-m.cmake
    toolchains/cortex-m4.cmake toolchains/cortex-m7.cmake toolchains/cortex-m55.cmake)
  install(FILES ${toolchain_files} DESTINATION ${CMAKE_INSTALL_DATADIR}/sparsenet/toolchains)
endif()

configure_package_config_file(toolchains/SparseNetConfig.cmake.in ${PROJECT_BINARY_DIR}/SparseNetConfig.cmake
  INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/SparseNetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/SparseNetConfig.cmake ${PROJECT_BINARY_DIR}/SparseNetConfigVersion.cmake
  toolchains/FindOneDNN.cmake DESTINATION ${config_dir})

# pkg-config. The prefix is derived from the location of the file, so that an installation may be moved. With only a
# static library, Libs.private would be pointless: every user needs all of it, a C program also the C++ library (naming
# it twice does no harm).
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
# sparsenet_pkg_config(NAME LIBRARY DESCRIPTION CFLAGS LIBS LIBS_PRIVATE)
function(sparsenet_pkg_config pc_name pc_library pc_description pc_cflags pc_libs pc_libs_private)
  foreach(flags pc_cflags pc_libs)
    if(${flags})
      set(${flags} " ${${flags}}")
    endif()
  endforeach()
  configure_file(toolchains/sparsenet.pc.in ${PROJECT_BINARY_DIR}/${pc_library}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc_library}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
if(TARGET sparsenet)
  list(JOIN private_libs " " private_libs)
  if(BUILD_SHARED_LIBS)
    sparsenet_pkg_config(SparseNet sparsenet "${PROJECT_DESCRIPTION}" "" "" "${private_libs}")
  else()
    sparsenet_pkg_config(SparseNet sparsenet "${PROJECT_DESCRIPTION}" "" "${private_libs}" "")
  endif()
endif()
# Objects for bare metal fit only objects built with the same flags, and a program wants nothing that it does not use.
set(device_libs -lm)
if(SPARSENET_FIRMWARE)
  set(device_libs "${SPARSENET_MACHINE_FLAGS} -Wl,--gc-sections -lm")
endif()
sparsenet_pkg_config("SparseNet, device library" sparsenet_device
  "Runs and trains SparseNet models from stored plans, without a heap or an operating system"
  "${SPARSENET_MACHINE_FLAGS}" "${device_libs}" "")

# Installed programs find a shared library relative to themselves, wherever the installation is.
foreach(program sparsenet_cli sparsenet-convert sparsenet_mlperf_tiny)
  if(TARGET ${program})
    file(RELATIVE_PATH to_lib /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/${to_lib}")
  endif()
endforeach()
