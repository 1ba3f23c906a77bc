// sparsenet create: makes a network of a known architecture with random weights.
#include <sparsenet/architecture.h>

#include <cstdio>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"

namespace sparsenet::cli {
namespace {

struct CreateArguments {
  std::string architecture, output;
  int classes = 0;
  uint64_t seed = 0;
};

constexpr const char* kCreateExamples =
    R"(ARCH is a preset such as sparsenet-abc-v1, densenet-bc-100-12 or resnet20, or an architecture spelled out; keys may
follow any name (docs/architectures.md lists them, and so does the error for a wrong one).

Examples:
  sparsenet create sparsenet-abc-v1 -o net.snet
  sparsenet create resnet20 --classes 100 --seed 7 -o resnet.snet
  sparsenet create sparsenet-abc:blocks=4-6-8,k=8,path=7,attention=se,classes=10 -o small.snet)";

int create(const CreateArguments& options) {
  auto architecture = parse_architecture(options.architecture);
  if (!architecture.ok()) return usage_error(architecture.status().message());
  if (options.classes > 0) architecture->classes = options.classes;
  auto graph = build_graph(*architecture, options.seed);
  if (!graph.ok()) return fail(graph.status().with_context(options.architecture));

  Model model;
  model.graph = std::move(*graph);
  model.metadata.architecture = to_string(*architecture);
  model.metadata.name = options.architecture.substr(0, options.architecture.find(':'));
  model.metadata.provenance = "untrained: random weights, seed " + std::to_string(options.seed);
  const Status saved = save_model(model, options.output);
  if (!saved.ok()) return fail(saved);
  std::printf("%s: %s, %s parameters, %s MACs per image, random weights (seed %llu)\n", options.output.c_str(),
              model.metadata.architecture.c_str(), grouped(model.graph.parameter_count()).c_str(),
              grouped(model.graph.macs_per_image()).c_str(), static_cast<unsigned long long>(options.seed));
  return kDone;
}

}  // namespace

void add_create(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("create", "Make a network of a known architecture, with random weights");
  auto options = std::make_shared<CreateArguments>();
  command->add_option("ARCH", options->architecture, "the architecture")->required();
  command->add_option("-o,--output", options->output, "the .snet file to write")->required();
  command->add_option("--classes", options->classes, "number of classes, instead of the architecture's")
      ->check(in_range(1, 1 << 20));
  command->add_option("--seed", options->seed, "seed of the random weights; the same seed gives the same file")
      ->check(no_sign())
      ->default_str("0");
  std::string known;
  for (const std::string& name : known_architectures()) known += "  " + name + "\n";
  command->footer(std::string(kCreateExamples) + "\n\nKnown names:\n" + known);
  command->callback([&action, options] { action = [options] { return create(*options); }; });
}

}  // namespace sparsenet::cli
