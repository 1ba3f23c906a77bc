// What a program that embeds the engine does, in brief: build or load a network, save it, run it.
#include <sparsenet/architecture.h>
#include <sparsenet/graph.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace {

int fail(const sparsenet::Status& status) {
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: consumer FILE.snet (written, then read)\n");
    return 2;
  }
  auto arch = sparsenet::parse_architecture("sparsenet-abc-v0");
  if (!arch.ok()) return fail(arch.status());
  auto graph = sparsenet::build_graph(*arch, 1);
  if (!graph.ok()) return fail(graph.status());
  sparsenet::Model made;
  made.graph = *graph;
  made.metadata.name = "consumer";
  if (auto status = sparsenet::save_model(made, argv[1]); !status.ok()) return fail(status);

  auto model = sparsenet::load_model(argv[1]);
  if (!model.ok()) return fail(model.status());
  auto session = sparsenet::Session::create(model->graph, {});
  if (!session.ok()) return fail(session.status());

  std::vector<float> image(3 * 32 * 32);
  for (size_t i = 0; i < image.size(); ++i) image[i] = std::sin(static_cast<float>(i));
  std::vector<float> logits(10);
  if (auto status = session->set_input(0, image.data(), image.size()); !status.ok()) return fail(status);
  if (auto status = session->run(); !status.ok()) return fail(status);
  if (auto status = session->get_output(0, logits.data(), logits.size()); !status.ok()) return fail(status);

  if (!std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); })) {
    std::fprintf(stderr, "error: a logit is not finite\n");
    return 1;
  }
  const auto memory = session->memory();
  std::printf("sparsenet %s: %lld parameters, arena %zu bytes, %zu steps\n", sparsenet::version().c_str(),
              static_cast<long long>(model->graph.parameter_count()), memory.arena_bytes, session->steps().size());
  return 0;
}
