#include "fuzz/convert_file.h"

#include <sparsenet/session.h>

#include <cstdio>
#include <filesystem>

#include "fuzz/scratch.h"
#include "graph/checksum.h"

namespace sparsenet::fuzz {
namespace {

// An end with words, where a promise that no sanitizer knows is broken.
[[noreturn]] void broken(const char* promise, const Status& status) {
  std::fprintf(stderr, "broken promise: %s: %s\n", promise, status.message().c_str());
  std::abort();
}

// Work that is worth waiting for.
bool is_small(const Graph& graph) {
  constexpr int64_t kMostMacs = 50'000, kMostElements = 20'000;
  if (graph.macs_per_image() > kMostMacs || graph.parameter_count() > kMostElements) return false;
  int64_t elements = 0;
  for (const Value& value : graph.values) {
    elements += element_count(value.shape);
    if (elements > kMostElements) return false;
  }
  return true;
}

void run(const Model& model) {
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.threads = 1;
  Result<Session> session = Session::create(model, options);
  if (!session.ok()) return;
  for (size_t i = 0; i < session->inputs().size(); ++i) {
    const std::vector<float> zeros(static_cast<size_t>(element_count(session->inputs()[i].shape)));
    if (const Status set = session->set_input(i, zeros.data(), zeros.size()); !set.ok()) broken("set_input", set);
  }
  if (const Status ran = session->run(); !ran.ok()) broken("a session that was made runs", ran);
}

}  // namespace

void convert_file(const uint8_t* data, size_t size, const std::string& ending, converter::Options options) {
  options.input = scratch_file("in" + ending, data, size);
  options.output = scratch_folder() + "/out.snet";
  converter::Report report;
  const Status status = convert(options, &report);
  for (const converter::Problem& problem : report.problems) (void)to_line(problem);
  (void)to_json(report);
  (void)tensor_table(report);
  const bool written = std::filesystem::exists(options.output);
  if (written != status.ok()) broken("a file is written where the conversion succeeds, and only there", status);
  if (!written) return;
  const Result<Model> model = load_model(options.output);
  if (!model.ok()) broken("what was written can be read", model.status());
  // What follows takes ten times as long as what came before: for some of the inputs, always the same ones.
  if (xxh64(data, size) % 8 == 0 && is_small(model->graph)) {
    run(*model);
    options.input = options.output;
    options.output = scratch_folder() + "/again.snet";
    options.format = converter::Format::kSnet;
    options.architecture.clear();
    options.rules.clear();
    options.test_vectors = 1;
    options.plan = "portable-f32";
    if (convert(options, &report).ok()) std::filesystem::remove(options.output);
    options.output = options.input;
  }
  std::filesystem::remove(options.output);
}

}  // namespace sparsenet::fuzz
