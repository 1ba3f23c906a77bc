// What the converter tells about one conversion: every problem at once, every tensor and where it went.
#pragma once

#include <sparsenet/graph.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/text.h"

namespace sparsenet::converter {

// One reason why the input cannot be converted. `subject` is "Conv 'layer1/conv'", "tensor 'fc.weight'", ... or empty
// when the file as a whole is meant.
struct Problem {
  std::string subject;
  std::string reason;
  size_t cause = 0;  // 1-based number of the declared cause (Report::cause) that it follows from; 0: none
};

// What several problems may follow from, and the way out. The text is a sentence without a full stop: "the network is
// quantised".
struct Cause {
  std::string text, remedy;
  std::string unit;  // what is counted, in the plural: "nodes", "tensors"
};

// All problems of one kind, as users read them.
struct ProblemGroup {
  std::string line;              // with the count, the first of them and the remedy
  std::vector<size_t> problems;  // indices, in order; never empty
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
  bool wrong_usage = false;  // the problem is a value of the command line
  std::vector<Cause> causes;
  std::vector<TensorRecord> tensors;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;  // what may well be a mistake of the user's, though a file is written

  // Filled when the conversion succeeded.
  std::map<std::string, int> operators;  // op name -> count in the written graph
  int64_t parameters = 0, macs = 0;
  int64_t flushed_weights = 0;       // below the smallest normal float32 number, stored as zero
  std::vector<float> mean, std_dev;  // as stored; empty: the file says nothing
  size_t file_bytes = 0;
  size_t test_vectors = 0;
  std::string test_vectors_from;  // who computed their outputs, as far as this conversion knows
  // What --check compared; no images: it was not asked for, or ended before.
  struct Check {
    size_t images = 0, stored = 0;
    double largest_error = 0, tolerance = 0;  // of the largest expected value of an output
  } check;
  struct PlanRecord {
    std::string target;
    int64_t batch;
    bool trains;
  };
  std::vector<PlanRecord> plans;
  double seconds = 0;

  void problem(std::string subject, std::string reason, size_t cause = 0);
  // Declares a cause and returns its number, the same number where it was declared before.
  size_t cause(Cause cause);
  void note(std::string text) { notes.push_back(std::move(text)); }
  void warn(std::string text) { warnings.push_back(std::move(text)); }
};

// "subject: reason", one line whatever the names contain.
std::string to_line(const Problem& problem);

// The problems by cause, in the order of their first ones: those of a declared cause together, and those that say the
// same of subjects of one kind, apart from names and numbers.
std::vector<ProblemGroup> grouped_problems(const Report& report);

// The notes, those of one kind as one line: the first, and how many more there are.
std::vector<std::string> grouped_notes(const Report& report);

// The report as one JSON document (see docs/converting.md for the fields).
std::string to_json(const Report& report);

// The table of tensors for -v: one line a tensor.
std::string tensor_table(const Report& report);

using io::printable;  // text from a file cannot break the form of one line per problem

}  // namespace sparsenet::converter
