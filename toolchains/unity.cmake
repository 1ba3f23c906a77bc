# Compiling the sources of a folder as one. Much of what a whole build takes is not our code but the standard library's
# templates, which every source instantiates anew: in groups, that happens once per group. The price is that changing
# one source compiles its group. Hence on where everything is built at once (see CMakePresets.json), otherwise off.
option(SPARSENET_UNITY_BUILD "Compile the sources of a folder together: a quicker build, a slower rebuild" OFF)

# sparsenet_group_sources(TARGET [SKIP REGEX]): to be called once all sources are known. Sources of one folder form a
# group, those named ops_*, lower_conv*, lower_integers* others: within a group, what is local to a source needs a name
# of its own.
function(sparsenet_group_sources target)
  if(NOT SPARSENET_UNITY_BUILD)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 group "" "SKIP" "")
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    if(NOT source MATCHES "^[a-z0-9_/]+\\.cpp$" OR (group_SKIP AND source MATCHES "${group_SKIP}"))
      continue()  # generated, or compiled alone
    endif()
    get_filename_component(folder ${source} DIRECTORY)
    get_filename_component(name ${source} NAME)
    string(REGEX MATCH "^(ops_|lower_conv|lower_integers)" operators ${name})
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP "${folder}/${operators}")
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

# The same for test suites, of which one folder has many: those of the converter are a group, the others by the first
# letters of their names.
function(sparsenet_group_tests target)
  if(NOT SPARSENET_UNITY_BUILD)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME)
    string(REGEX MATCH "^converter_|^." group ${name})
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
