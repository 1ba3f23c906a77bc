// sparsenet verify: runs the file's own test vectors on this device. Answers the question "does it compute here what it
// computed there?".
#include <sparsenet/sparsenet.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"
#include "io/file_kind.h"
#include "io/session_tensors.h"

namespace sparsenet::cli {
namespace {

struct VerifyArguments {
  ModelArgument model;
  BackendOptions backend;
  bool steps = false;
  bool json = false;
};

constexpr const char* kVerifyExamples =
    R"(A test vector is an input with the output that the source framework (sparsenet-convert --check) or the
reference kernels (--test-vectors) gave for it. The relative difference is max |found - expected| / max |expected|,
over one output.

Examples:
  sparsenet verify net.snet
  sparsenet verify net.snet --backend portable --json

--steps runs the stored plan as a device does, with the portable kernels, and names the first step that differs:
  sparsenet verify device.snet --steps)";

struct Comparison {
  size_t vector;
  std::string output;
  double max_abs = 0, max_rel = 0, tolerance = 0;
  bool passed = false;
};

// Integers are compared as they are.
Comparison compare(const std::vector<float>& found, const std::vector<float>& expected) {
  Comparison result{};
  double largest = 0;
  bool finite = true;
  for (size_t i = 0; i < found.size(); ++i) {
    const double difference = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    finite = finite && std::isfinite(difference);
    result.max_abs = std::max(result.max_abs, difference);
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  // std::max ignores NaN, and a NaN must never pass.
  if (!finite) result.max_abs = INFINITY;
  result.max_rel = finite ? result.max_abs / std::max(1e-6, largest) : INFINITY;
  return result;
}

Status check_tensors(const std::vector<Tensor>& tensors, const std::vector<TensorInfo>& expected,
                     const std::string& what) {
  if (tensors.size() != expected.size()) {
    return invalid_model(what + ": expected " + std::to_string(expected.size()) + " tensors, found " +
                         std::to_string(tensors.size()));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].type != expected[i].type || tensors[i].shape != expected[i].shape) {
      return invalid_model(what + ": '" + expected[i].name + "': expected " + sparsenet::name(expected[i].type) + " " +
                           to_string(expected[i].shape) + ", found " + sparsenet::name(tensors[i].type) + " " +
                           to_string(tensors[i].shape));
    }
  }
  return {};
}

Result<std::vector<Comparison>> run_vectors(Session& session, const std::vector<TestVector>& vectors) {
  std::vector<Comparison> results;
  for (size_t v = 0; v < vectors.size(); ++v) {
    const TestVector& vector = vectors[v];
    const std::string what = "test vector " + std::to_string(v);
    SPARSENET_RETURN_IF_ERROR(check_tensors(vector.inputs, session.inputs(), what + ", inputs"));
    SPARSENET_RETURN_IF_ERROR(check_tensors(vector.outputs, session.outputs(), what + ", outputs"));
    for (size_t i = 0; i < vector.inputs.size(); ++i) {
      SPARSENET_RETURN_IF_ERROR(io::set_input(&session, i, vector.inputs[i]));
    }
    SPARSENET_RETURN_IF_ERROR(session.run());
    for (size_t i = 0; i < vector.outputs.size(); ++i) {
      SPARSENET_ASSIGN_OR_RETURN(const Tensor found, io::get_output(session, i));
      Comparison result = compare(io::numbers_of(found), io::numbers_of(vector.outputs[i]));
      result.vector = v;
      result.output = session.outputs()[i].name;
      result.tolerance = static_cast<double>(vector.tolerance);
      result.passed = result.max_rel <= result.tolerance;
      results.push_back(std::move(result));
    }
  }
  return results;
}

std::string scientific(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3e", number);
  return text;
}

// Runs the stored plan as a device would.
int verify_steps(const VerifyArguments& options, const std::string& path) {
  sn_message why{sizeof why, ""};
  if (options.backend.backend != "auto" && options.backend.backend != "portable") {
    return usage_error("--steps: a stored plan runs with --backend portable, found '" + options.backend.backend + "'");
  }
  const auto failed = [&] { return fail(invalid_model(path + ": " + std::string(why.text))); };
  const void* file = nullptr;
  size_t bytes = 0;
  sn_status status = sn_map_file(path.c_str(), &file, &bytes, &why);
  if (status != SN_OK) return fail(io::explain_not_snet(path, io_error(why.text)));
  const std::unique_ptr<const void, std::function<void(const void*)>> map(
      file, [bytes](const void* data) { sn_unmap_file(data, bytes); });
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  if ((status = sn_measure(file, bytes, nullptr, &needs, &why)) != SN_OK) {
    return fail(io::explain_not_snet(path, invalid_model(path + ": " + std::string(why.text))));
  }
  const std::unique_ptr<void, decltype(&std::free)> memory(
      std::aligned_alloc(SN_ALIGNMENT, (needs.memory_bytes + SN_ALIGNMENT - 1) / SN_ALIGNMENT * SN_ALIGNMENT),
      &std::free);
  if (!memory) return fail(out_of_memory(path + ": no memory for " + std::to_string(needs.memory_bytes) + " bytes"));
  sn_session* session = nullptr;
  status = sn_prepare(file, bytes, nullptr, memory.get(), needs.memory_bytes, &session, &why);
  if (status != SN_OK) return failed();
  float error = 0;
  status = sn_verify_steps(session, &error, &why);
  if (status == SN_NOT_FOUND) {
    return fail(not_found(path + ": holds no plan whose steps can be checked; `sparsenet-convert " + path +
                          " --plan portable-f32 --test-vectors 1 -o DEVICE.snet` makes one"));
  }
  if (options.json) {
    print_json({{"model", path},
                {"backend", "portable"},
                {"steps", needs.steps},
                {"passed", status == SN_OK},
                {"max_relative_difference", error}});
  } else if (status == SN_OK) {
    std::printf("all %u steps agree, largest relative difference %s\n", needs.steps,
                scientific(static_cast<double>(error)).c_str());
  }
  return status == SN_OK ? kDone : failed();
}

int verify(const VerifyArguments& options) {
  auto path = options.model.resolve();
  if (!path.ok()) return usage_error(path.status().message());
  if (options.steps) return verify_steps(options, *path);
  auto session_options = options.backend.resolve(1);
  if (!session_options.ok()) return usage_error(session_options.status().message());
  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());
  const std::vector<TestVector>& vectors = loaded->model.test_vectors;
  if (vectors.empty()) {
    return fail(
        not_found(*path + ": holds no test vectors to verify; `sparsenet-convert --test-vectors N` embeds them"));
  }
  auto session = make_session(*loaded, *session_options);
  if (!session.ok()) return fail(session.status());
  auto results = run_vectors(*session, vectors);
  if (!results.ok()) return fail(results.status().with_context(*path));

  const auto failures = std::count_if(results->begin(), results->end(), [](const Comparison& c) { return !c.passed; });
  if (options.json) {
    Json list = Json::array();
    for (const Comparison& c : *results) {
      list.push_back({{"vector", c.vector},
                      {"output", c.output},
                      {"max_abs_difference", c.max_abs},
                      {"max_relative_difference", c.max_rel},
                      {"tolerance", c.tolerance},
                      {"passed", c.passed}});
    }
    print_json({{"model", *path},
                {"backend", options.backend.backend},
                {"precision", options.backend.precision},
                {"test_vectors", vectors.size()},
                {"passed", failures == 0},
                {"results", list}});
  } else {
    Table table({"vector", "output", "max abs diff", "max rel diff", "tolerance", "result"});
    for (const Comparison& c : *results) {
      table.add({std::to_string(c.vector), c.output, scientific(c.max_abs), scientific(c.max_rel),
                 scientific(c.tolerance), c.passed ? "ok" : "FAILED"});
    }
    table.print();
  }
  if (failures > 0) {
    return fail(internal_error(*path + ": " + std::to_string(failures) + " of " + std::to_string(results->size()) +
                               " outputs differ from the embedded ones by more than the tolerance"));
  }
  if (!options.json) std::printf("\nall %zu test vectors agree\n", vectors.size());
  return kDone;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("verify", "Check a network against the test vectors in its own file");
  auto options = std::make_shared<VerifyArguments>();
  options->model.add_to(*command);
  options->backend.add_to(*command);
  command->add_flag("--steps", options->steps, "compare every step of the stored plan with the values stored with it");
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kVerifyExamples);
  command->callback([&action, options] { action = [options] { return verify(*options); }; });
}

}  // namespace sparsenet::cli
