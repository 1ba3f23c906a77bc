# Makes a C++ source of the files in kernels/, at build time:
#   cmake -DOUTPUT=kernel_text.cpp -DFOLDER=kernels "-DHEADERS=params.h common.cl" "-DKERNELS=conv.cl pool.cl"
#         -P embed_kernels.cmake
# Comments, blank lines and indentation are left out, so that compiled kernels in users' caches stay valid when only
# those change. Kernels hold no "//" in strings.
cmake_minimum_required(VERSION 3.22)

# The file's text as a C++ literal, a line for each of its lines.
function(literal_of path result)
  file(READ "${path}" text)
  string(REPLACE "\r\n" "\n" text "${text}")
  string(REGEX REPLACE "[ \t]*//[^\n]*" "" text "${text}")
  string(REGEX REPLACE "(^|\n)#pragma once[^\n]*" "\n" text "${text}")
  string(REGEX REPLACE "(^|\n)#include[^\n]*" "\n" text "${text}")
  string(REGEX REPLACE "[ \t]*\n[ \t\n]*" "\n" text "\n${text}\n")
  string(REGEX REPLACE "^\n" "" text "${text}")
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
  set(${result} "\"${text}\"" PARENT_SCOPE)
endfunction()

function(table_of name files result)
  set(rows "")
  string(REPLACE " " ";" files "${files}")
  foreach(file IN LISTS files)
    literal_of("${FOLDER}/${file}" literal)
    string(REGEX REPLACE "\\.cl$" "" stem "${file}")
    string(APPEND rows "  {\"${stem}\", ${literal}},\n")
  endforeach()
  list(LENGTH files count)
  set(${result} "const KernelText kKernel${name}s[] = {\n${rows}};\nconst size_t kKernel${name}Count = ${count};\n"
      PARENT_SCOPE)
endfunction()

table_of(Header "${HEADERS}" headers)
table_of(File "${KERNELS}" kernels)
file(WRITE "${OUTPUT}" "#include \"backends/gpu/kernel_text.h\"\n\nnamespace sparsenet::gpu {\n\n${headers}\n${kernels}
}  // namespace sparsenet::gpu\n")
