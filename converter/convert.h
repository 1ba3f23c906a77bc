// One conversion: from a source file (and, for weights, an architecture) to a .snet file and a report.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <string>
#include <vector>

#include "converter/graph_options.h"
#include "converter/io/file_bytes.h"
#include "converter/normalisation.h"
#include "converter/report.h"

namespace sparsenet::converter {

enum class Format : uint8_t { kAuto, kOnnx, kTorch, kSafetensors, kNpz, kKeras, kTflite, kSnet };
Result<Format> parse_format(const std::string& text);
// Decided by the first bytes, or by the name's extension if they do not suffice (ONNX has no magic number).
Result<Format> detect_format(const std::string& path, const FileBytes& bytes);

// --precision: in which type parameters are stored.
enum class Precision { kAsItIs, kFloat32, kFloat16 };

struct Options {
  std::string input;
  const Model* model = nullptr;  // converted in place of the file; `input` then only names it
  std::string output;
  Format format = Format::kAuto;
  std::string architecture;  // ARCH; required for weights, rejected for formats with a graph
  std::string rules;         // --map
  GraphOptions graph;        // --outputs, --input-shape
  std::string labels_file;
  std::vector<std::string> labels;  // in place of a file
  NormalisationOptions normalisation;
  std::string name;  // of the model; empty: from the file's name
  std::string license;
  Precision precision = Precision::kAsItIs;
  int test_vectors = 0;
  std::vector<std::string> check;  // --check: lists of .npy files, see check_model.h; used instead of test_vectors
  float check_tolerance = 1e-4f;
  std::string plan;            // target of a plan to store, for batch 1; empty: none, unless an option below needs one
  bool training_plan = false;  // also store a plan that trains the last layer
  uint64_t max_memory = 0;     // --max-memory: most bytes that a conversion may take; 0: the default (MemoryBudget)
  std::string c_array, select_ops;  // folders for the model as source and for its table of kernels; empty: none
};

// Reads and imports; writes nothing. Fills the report; after a failure report->problems has the details.
Result<Model> import_model(const Options& options, Report* report);

// Sets the vector's outputs to what the session computes for its inputs: one per graph output, in the session's shapes.
// kInvalidModel if one is not finite; the vector is then as it was.
Status compute_outputs(Session* session, TestVector* vector);

// Stores inputs from a fixed seed with the outputs that the reference kernels compute for them, replacing the model's
// own test vectors.
Status add_test_vectors(int count, Model* model);

// Runs import_model, check_runs, check_outputs, set_precision or add_test_vectors, make_stored_plan, save_model, and
// device_source.h. After a failure there is no file at `output`. If `output` is empty, none is written.
Result<Model> convert_model(const Options& options, Report* report);
Status convert(const Options& options, Report* report);

}  // namespace sparsenet::converter
