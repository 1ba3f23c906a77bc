// One conversion: a source file (and for weights an architecture) to a .snet file and a report.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include <string>
#include <vector>

#include "converter/io/file_bytes.h"
#include "converter/normalisation.h"
#include "converter/report.h"

namespace sparsenet::converter {

enum class Format : uint8_t { kAuto, kOnnx, kTorch, kSafetensors, kNpz, kTflite, kSnet };
Result<Format> parse_format(const std::string& text);
// By the first bytes, and by the name's ending where they do not tell (ONNX has no magic number).
Result<Format> detect_format(const std::string& path, const FileBytes& bytes);

struct Options {
  std::string input;
  std::string output;
  Format format = Format::kAuto;
  std::string architecture;  // ARCH; weights need it, formats with a graph refuse it
  std::string rules;         // --map
  std::string labels_file;
  NormalisationOptions normalisation;
  std::string name;  // of the model; empty: from the file's name
  std::string license;
  int test_vectors = 0;
  std::vector<std::string> check;  // --check: lists of .npy files, see check_model.h; instead of test_vectors
  float check_tolerance = 1e-4f;
  std::string plan;            // target of a plan to store, for batch 1; empty: none, unless one of these is asked for
  bool training_plan = false;  // store one that trains the last layer, too
  uint64_t max_memory = 0;  // --max-memory: bytes that a conversion may take; 0: a multiple of the file (MemoryBudget)
  std::string c_array, select_ops;  // folders for the model as source and for its table of kernels; empty: not wanted
};

// Reads and imports; nothing is written. Fills the report; a failure's details are report->problems.
Result<Model> import_model(const Options& options, Report* report);

// Inputs from a fixed seed with the outputs that the reference kernels give for them; they take the place of the
// model's own.
Status add_test_vectors(int count, Model* model);

// import_model, check_runs, check_outputs or add_test_vectors, make_stored_plan, save_model, device_source.h. On
// failure nothing is left at `output`.
Status convert(const Options& options, Report* report);

}  // namespace sparsenet::converter
