// What the converter tells about one conversion: every problem at once, every tensor and where it went.
#pragma once

#include <sparsenet/graph.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sparsenet::converter {

// One reason why the input cannot be converted. `subject` is "Conv 'layer1/conv'", "tensor 'fc.weight'", ... or empty
// when the file as a whole is meant.
struct Problem {
  std::string subject;
  std::string reason;
};

// One tensor of the source, or one constant of the target that no source tensor filled (then `source` is empty).
struct TensorRecord {
  std::string source;
  std::string type;    // as the source calls it: "float32", "int64", ...
  Shape shape;         // in the source's own order
  std::string target;  // constant of the graph; empty: not stored
  std::string how;     // "name", "rule 2", "order and shape", "ignored (...)", "folded", "transposed", ...
};

struct Report {
  std::string input, format, producer, output, architecture;
  std::vector<Problem> problems;
  std::vector<TensorRecord> tensors;
  std::vector<std::string> notes;

  // Filled when the conversion succeeded.
  std::map<std::string, int> operators;  // op name -> count in the written graph
  int64_t parameters = 0, macs = 0;
  int64_t flushed_weights = 0;  // below the smallest normal float32 number, stored as zero
  size_t file_bytes = 0;
  size_t test_vectors = 0;
  struct PlanRecord {
    std::string target;
    int64_t batch;
    bool trains;
  };
  std::vector<PlanRecord> plans;
  double seconds = 0;

  void problem(std::string subject, std::string reason);
  void note(std::string text) { notes.push_back(std::move(text)); }
};

// "subject: reason", one line whatever the names contain.
std::string to_line(const Problem& problem);

// The report as one JSON document (see docs/converting.md for the fields).
std::string to_json(const Report& report);

// The table of tensors for -v: one line a tensor.
std::string tensor_table(const Report& report);

// Control characters become '?', very long names are cut: text from a file cannot break the one-line-a-problem form.
std::string printable(const std::string& text);

}  // namespace sparsenet::converter
