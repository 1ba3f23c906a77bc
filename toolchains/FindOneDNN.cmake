# Finds oneDNN by header and library: OneDNN_FOUND, OneDNN_VERSION and the target OneDNN::dnnl.
#
# The package's own dnnl-config.cmake is not used: Debian 12's requires the OpenCL headers, which the package does not
# depend on and a CPU program does not need. This file is installed beside SparseNetConfig.cmake, for programs that link
# the static library.
find_path(OneDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(OneDNN_LIBRARY dnnl)
mark_as_advanced(OneDNN_INCLUDE_DIR OneDNN_LIBRARY)

if(OneDNN_INCLUDE_DIR AND EXISTS "${OneDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h")
  file(STRINGS "${OneDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h" onednn_lines REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
  set(OneDNN_VERSION "")
  foreach(part MAJOR MINOR PATCH)
    if("${onednn_lines}" MATCHES "DNNL_VERSION_${part} +([0-9]+)")
      string(APPEND OneDNN_VERSION ".${CMAKE_MATCH_1}")
    endif()
  endforeach()
  string(REGEX REPLACE "^\\." "" OneDNN_VERSION "${OneDNN_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OneDNN REQUIRED_VARS OneDNN_LIBRARY OneDNN_INCLUDE_DIR VERSION_VAR OneDNN_VERSION)
if(OneDNN_FOUND AND NOT TARGET OneDNN::dnnl)
  add_library(OneDNN::dnnl UNKNOWN IMPORTED)
  set_target_properties(OneDNN::dnnl PROPERTIES
    IMPORTED_LOCATION "${OneDNN_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${OneDNN_INCLUDE_DIR}")
endif()
