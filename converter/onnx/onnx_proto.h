// The generated reader of ONNX files. Its namespace is the package that the installed onnx.proto declares; CMake
// determines it.
#pragma once

#include SPARSENET_ONNX_HEADER

namespace sparsenet::converter {
namespace onnx_ns = ::SPARSENET_ONNX_NAMESPACE;
}  // namespace sparsenet::converter
