# `cmake --install`: headers, library, programs, the file's schema; and how other projects find them: a CMake package
# (find_package(SparseNet)) and a pkg-config file. tests/consumer builds a program in both ways, against a real
# install. The programs install themselves.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/SparseNet)
target_compile_features(sparsenet PUBLIC cxx_std_17)
set_target_properties(sparsenet PROPERTIES EXPORT_NAME sparsenet VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
if(BUILD_SHARED_LIBS)
  # The headers name no exported symbols one by one; a shared library therefore shows everything of namespace sparsenet.
  set_target_properties(sparsenet PROPERTIES CXX_VISIBILITY_PRESET default)
endif()

# A static library hands what it needs on to the program. Which of the possible needs this build has is asked of the
# target itself, so that there is no second list to forget.
set(dependencies "")
set(private_libs "")
get_target_property(links sparsenet LINK_LIBRARIES)
list(FILTER links EXCLUDE REGEX "BUILD_INTERFACE")  # needed to build it, not to use it
if("${links}" MATCHES "Threads::Threads")
  string(APPEND dependencies "find_dependency(Threads)\n")
  list(APPEND private_libs -pthread)
endif()
if("${links}" MATCHES "OpenMP::OpenMP_CXX")
  string(APPEND dependencies "find_dependency(OpenMP COMPONENTS CXX)\n")
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
if(BUILD_SHARED_LIBS)
  set(dependencies "")
endif()

install(TARGETS sparsenet EXPORT SparseNetTargets ARCHIVE LIBRARY RUNTIME)
install(DIRECTORY engine/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES schemas/model.fbs DESTINATION ${CMAKE_INSTALL_DATADIR}/sparsenet)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT SparseNetTargets NAMESPACE SparseNet:: DESTINATION ${config_dir})

configure_package_config_file(toolchains/SparseNetConfig.cmake.in ${PROJECT_BINARY_DIR}/SparseNetConfig.cmake
  INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/SparseNetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/SparseNetConfig.cmake ${PROJECT_BINARY_DIR}/SparseNetConfigVersion.cmake
  toolchains/FindOneDNN.cmake DESTINATION ${config_dir})

# pkg-config. The prefix is told from where the file lies, so that an install may be moved. A static library alone has
# no use for Libs.private: every user needs all of it.
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
list(JOIN private_libs " " private_libs)
if(BUILD_SHARED_LIBS)
  set(pc_libs "")
  set(pc_libs_private "${private_libs}")
else()
  set(pc_libs " ${private_libs}")
  set(pc_libs_private "")
endif()
configure_file(toolchains/sparsenet.pc.in ${PROJECT_BINARY_DIR}/sparsenet.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sparsenet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Installed programs find a shared library beside them, wherever the install lies.
foreach(program sparsenet_cli sparsenet-convert)
  if(TARGET ${program})
    file(RELATIVE_PATH to_lib /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/${to_lib}")
  endif()
endforeach()
