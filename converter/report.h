// What the converter reports about a conversion: all problems at once, every tensor and where it went.
#pragma once

#include <sparsenet/graph.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/text.h"

namespace sparsenet::converter {

// One reason why the input cannot be converted. `subject` is "Conv 'layer1/conv'", "tensor 'fc.weight'", ... or empty
// if the file as a whole is meant.
struct Problem {
  std::string subject;
  std::string reason;
  size_t cause = 0;  // 1-based number of the declared cause (Report::cause) of this problem; 0: none
};

// A common cause of several problems, and what to do about it. The text is a sentence without a full stop: "the network
// is quantised".
struct Cause {
  std::string text, remedy;
  std::string unit;  // what is counted, in the plural: "nodes", "tensors"
};

// All problems of one kind, as shown to users.
struct ProblemGroup {
  std::string line;              // with the number of problems, the first of them and the remedy
  std::vector<size_t> problems;  // indices, in order; never empty
};

// One tensor of the source, or one constant of the target for which there was no source tensor (then `source` is
// empty).
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
  bool wrong_usage = false;        // the problem is a value on the command line
  bool normalises_itself = false;  // the network begins with a normalisation of its input
  bool byte_inputs = false;        // an input holds bytes in the source, as pixels of 0..255 are
  std::vector<Cause> causes;
  std::vector<TensorRecord> tensors;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;  // likely mistakes of the user, although a file is written

  // Filled when the conversion succeeded.
  std::map<std::string, int> operators;  // op name -> count in the written graph
  int64_t parameters = 0, macs = 0;
  int64_t flushed_weights = 0;       // below the smallest normal float32 number, stored as zero
  std::vector<float> mean, std_dev;  // as stored; empty: the file states none
  size_t file_bytes = 0;
  size_t test_vectors = 0;
  std::string test_vectors_from;  // what computed their outputs, as far as this conversion knows
  // The result of --check. No images: it was not requested, or the conversion ended before it.
  struct Check {
    size_t images = 0, stored = 0;
    double largest_error = 0, tolerance = 0;  // relative to the largest expected value of an output
  } check;
  struct PlanRecord {
    std::string target;
    int64_t batch;
    bool trains;
  };
  std::vector<PlanRecord> plans;
  double seconds = 0;

  void problem(std::string subject, std::string reason, size_t cause = 0);
  // Declares a cause and returns its number, or the existing number if it was declared before.
  size_t cause(Cause cause);
  void note(std::string text) { notes.push_back(std::move(text)); }
  void warn(std::string text) { warnings.push_back(std::move(text)); }
};

// "subject: reason", on one line whatever the names contain.
std::string to_line(const Problem& problem);

// The problems grouped by cause, in the order of their first ones: those with the same declared cause, and those with
// the same reason for subjects of the same kind, apart from names and numbers.
std::vector<ProblemGroup> grouped_problems(const Report& report);

// The notes, with those of one kind merged into one line: the first, and how many more there are.
std::vector<std::string> grouped_notes(const Report& report);

// The report as one JSON document (see docs/converting.md for the fields).
std::string to_json(const Report& report);

// The table of tensors for -v: one line per tensor.
std::string tensor_table(const Report& report);

using io::printable;  // text from a file cannot break the form of one line per problem

}  // namespace sparsenet::converter
