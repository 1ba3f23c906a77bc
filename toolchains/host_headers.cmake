# Header-only libraries in cross builds. They are the same files for every machine, so the host's copy can be used, but
# only these files, through links in a folder of the build tree. The host's /usr/include on a cross include path would
# bring in everything else, first of all the C library.

# sparsenet_find_headers(VARIABLE HEADER): the folder from which to include HEADER (library/file.h); an error if there
# is none. Native builds look in the usual places.
function(sparsenet_find_headers variable header)
  find_path(${variable} ${header})
  if(${variable} OR NOT CMAKE_CROSSCOMPILING)
    if(NOT ${variable})
      message(FATAL_ERROR "${header} not found (toolchains/setup.sh installs what is needed)")
    endif()
    return()
  endif()
  string(REGEX REPLACE "/.*" "" library ${header})
  find_path(SPARSENET_HOST_${library} ${header} PATHS /usr/include /usr/local/include NO_CMAKE_FIND_ROOT_PATH)
  if(NOT SPARSENET_HOST_${library})
    message(FATAL_ERROR "${header} not found, neither for the target nor on this machine")
  endif()
  set(folder ${PROJECT_BINARY_DIR}/host-headers)
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${SPARSENET_HOST_${library}}/${library} ${folder}/${library} SYMBOLIC)
  set(${variable} ${folder} CACHE PATH "Folder of ${header}" FORCE)
endfunction()
