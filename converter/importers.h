// Importers of formats that contain a graph. Each takes the whole file and never trusts it. All problems of the file
// are collected in the report; the graph is usable only if there are none.
#pragma once

#include <sparsenet/graph.h>

#include <cstdint>
#include <string>

#include "converter/graph_options.h"
#include "converter/io/file_bytes.h"
#include "converter/report.h"

namespace sparsenet::converter {

// ONNX, opset 7 to 23. `folder` is where tensors stored outside the file are looked for; empty: nowhere. Pass the only
// reference to the file's memory: it is released as soon as the file has been parsed.
Graph import_onnx(FileBytes file, const std::string& folder, const GraphOptions& options, Report* report);
Graph import_onnx(const uint8_t* data, size_t size, const std::string& folder, Report* report);

// TensorFlow Lite, float32 (weights may be float16). NHWC activations become NCHW, so an input [1, H, W, C] becomes [1,
// C, H, W] in the graph.
Graph import_tflite(const uint8_t* data, size_t size, Report* report);

}  // namespace sparsenet::converter
