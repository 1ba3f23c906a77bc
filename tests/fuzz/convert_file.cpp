#include "fuzz/convert_file.h"

#include <filesystem>

#include "base/checksum.h"
#include "fuzz/run_model.h"
#include "fuzz/scratch.h"

namespace sparsenet::fuzz {

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
  // What follows takes ten times as long as what came before, so it is done for some of the inputs only, always the
  // same ones.
  if (xxh64(data, size) % 8 == 0 && is_small(model->graph)) {
    if (const Status ran = run_model(*model); !ran.ok()) broken("what was written can be run", ran);
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
