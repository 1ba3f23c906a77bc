# Makes a C++ source of the files in kernels/, at build time:
#   cmake -DOUTPUT=kernel_text.cpp -DFOLDER=kernels "-DFILES=params.h common.cl pool.cl" -P embed_kernels.cmake
# Comments, blank lines and indentation are left out, so that compiled kernels in users' caches stay valid when only
# those change. Kernels hold no "//" in strings. They may #include any of the other files, which must be in FILES.
cmake_minimum_required(VERSION 3.22)

string(REPLACE " " ";" FILES "${FILES}")
set(rows "")
foreach(file IN LISTS FILES)
  file(READ "${FOLDER}/${file}" text)
  string(REPLACE "\r\n" "\n" text "${text}")
  string(REGEX REPLACE "[ \t]*//[^\n]*" "" text "${text}")
  string(REGEX REPLACE "[ \t]*\n[ \t\n]*" "\n" text "\n${text}\n")
  string(REGEX REPLACE "^\n" "" text "${text}")

  string(REGEX MATCHALL "#include[^\n]*" includes "${text}")
  foreach(include IN LISTS includes)
    string(REGEX REPLACE "^#include \"([^\"]*)\"$" "\\1" included "${include}")
    if(NOT included IN_LIST FILES)
      message(FATAL_ERROR "kernels/${file} has the line ${include}, which names none of the files ${FILES}")
    endif()
  endforeach()

  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
  string(APPEND rows "  {\"${file}\", \"${text}\"},\n")
endforeach()
list(LENGTH FILES count)
file(WRITE "${OUTPUT}" "#include \"backends/gpu/kernel_text.h\"

namespace sparsenet::gpu {

const KernelText kKernelFiles[] = {
${rows}};
const size_t kKernelFileCount = ${count};

}  // namespace sparsenet::gpu
")
