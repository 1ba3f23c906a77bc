// Compiles the kernels that networks use with the real NVRTC, which needs no device, for several generations of
// devices, and reads out of the cubins what they take: no kernel may spill registers into memory, and a group of 256
// threads has at most half of a multiprocessor's registers, which is 128 for each thread.
//
//   compile_kernels [--nvrtc FILE] [--architectures 80,90] [--list] NETWORK...
//
// A network is a model file or the name of an architecture ("resnet20"). Exits with 77 if there is no NVRTC.
#include <sparsenet/architecture.h>
#include <sparsenet/model.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "backends/cuda/nvrtc.h"
#include "backends/gpu/builder.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "plugin/plan_data.h"
#include "session/stored_constants.h"
#include "tests/fake_cuda/cubin.h"

namespace {

using namespace sparsenet;

constexpr int kSkipped = 77;
constexpr unsigned kMostRegisters = 128 * 256;  // of a group
constexpr uint64_t kMostSharedBytes = 49152;

struct Options {
  std::string nvrtc;
  std::vector<int> architectures{75, 80, 86, 89, 90};
  bool list = false;
  std::vector<std::string> networks;
};

bool read_options(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--list") {
      options->list = true;
    } else if ((argument == "--nvrtc" || argument == "--architectures") && i + 1 < argc) {
      const std::string value = argv[++i];
      if (argument == "--nvrtc") {
        options->nvrtc = value;
        continue;
      }
      options->architectures.clear();
      std::istringstream list(value);
      for (std::string item; std::getline(list, item, ',');) options->architectures.push_back(std::atoi(item.c_str()));
    } else if (argument.rfind("--", 0) == 0) {
      return false;
    } else {
      options->networks.push_back(argument);
    }
  }
  return !options->networks.empty() && !options->architectures.empty();
}

Result<Graph> graph_of(const std::string& network) {
  const std::string ending = ".snet";
  if (network.size() > ending.size() && network.substr(network.size() - ending.size()) == ending) {
    SPARSENET_ASSIGN_OR_RETURN(Model model, load_model(network));
    return std::move(model.graph);
  }
  SPARSENET_ASSIGN_OR_RETURN(const Architecture architecture, parse_architecture(network));
  return build_graph(architecture);
}

// A device as the plugin would describe it.
gpu::Traits traits_of(int architecture) {
  gpu::Traits traits;
  traits.name = "sm_" + std::to_string(architecture);
  traits.units = 80;
  traits.memory_bytes = traits.max_allocation_bytes = uint64_t{16} << 30;
  traits.local_bytes = kMostSharedBytes;
  traits.max_group = 1024;
  traits.dot_product = traits.tensor_cores = true;
  traits.compute_capability = architecture;
  return traits;
}

using Kernels = std::set<gpu::KernelName>;

// The kernels of a program, and of those that tuning may turn it into.
gpu::Outcome add_kernels(const snp_plan& plan, gpu::BuildOptions options, Kernels* kernels) {
  gpu::Tuning tuning;
  options.tuning = &tuning;
  options.measure_only = true;
  gpu::Program fixed;
  gpu::Outcome outcome = gpu::Builder(plan, options).build(&fixed);
  const auto add = [kernels](const gpu::Program& program) {
    for (const auto* lists : {&program.input_launches, &program.output_launches})
      for (const std::vector<gpu::Launch>& list : *lists)
        for (const gpu::Launch& launch : list) kernels->insert(launch.kernel);
    for (const gpu::Launch& launch : program.launches) kernels->insert(launch.kernel);
  };
  if (outcome.ok()) add(fixed);
  for (const gpu::Choice& choice : fixed.choices) {
    for (int value = 0; outcome.ok() && value < choice.count; ++value) {
      tuning = {{choice.key, value}};
      gpu::Program program;
      outcome = gpu::Builder(plan, options).build(&program);
      if (outcome.ok()) add(program);
    }
  }
  return outcome;
}

Status add_kernels(const std::string& network, int architecture, Kernels* kernels) {
  SPARSENET_ASSIGN_OR_RETURN(const Graph source, graph_of(network));
  Graph graph = source;
  SPARSENET_RETURN_IF_ERROR(run_passes(&graph, PassLevel::kAll));
  SPARSENET_ASSIGN_OR_RETURN(Plan made, make_plan(graph));
  SPARSENET_ASSIGN_OR_RETURN(const StoredPlan stored, gather_constants(std::move(made), graph, source));
  const PlanRange range = whole_range(*stored.plan);
  SPARSENET_ASSIGN_OR_RETURN(const PlanData data, PlanData::make(*stored.plan, stored.constants, range, false));
  const gpu::Traits traits = traits_of(architecture);
  gpu::BuildOptions options;
  options.device = &traits;
  gpu::Outcome outcome = add_kernels(data.plan(), options, kernels);
  options.half = true;
  for (const bool tensor_cores : {false, true}) {
    options.tensor_cores = tensor_cores;
    // Networks of integers have no float16 form.
    if (outcome.ok()) outcome = add_kernels(data.plan(), options, kernels);
    if (outcome.status == SNP_UNSUPPORTED) outcome = {};
  }
  return outcome.ok() ? Status() : internal_error(network + ": " + outcome.message);
}

unsigned threads_of(const std::string& defines) {
  unsigned threads = 1;
  for (const char* dimension : {"-DGROUP_X=", "-DGROUP_Y=", "-DGROUP_Z="}) {
    const size_t at = defines.find(dimension);
    if (at != std::string::npos) threads *= static_cast<unsigned>(std::atoi(defines.c_str() + at + 10));
  }
  return threads;
}

struct Work {
  int architecture;
  std::string file, defines;
  std::set<std::string> entries;
};

class Compilation {
 public:
  Compilation(const gpu::cuda::Nvrtc& nvrtc, const Options& options) : nvrtc_(nvrtc), options_(options) {}

  void add(int architecture, const Kernels& kernels) {
    std::map<std::pair<std::string, std::string>, std::set<std::string>> units;
    for (const gpu::KernelName& kernel : kernels) units[{kernel.file, kernel.defines}].insert(kernel.entry);
    for (const auto& [unit, entries] : units) work_.push_back({architecture, unit.first, unit.second, entries});
  }

  void run() {
    std::vector<std::thread> threads(std::max(1u, std::thread::hardware_concurrency()));
    for (std::thread& thread : threads) {
      thread = std::thread([this] {
        for (size_t i = next_++; i < work_.size(); i = next_++) compile(work_[i]);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  int report() const {
    std::printf(
        "%zu compilations, %zu kernels; at most %u registers (%s) and %llu bytes of shared memory; %d problems\n",
        work_.size(), kernels_, most_registers_, busiest_.c_str(), static_cast<unsigned long long>(most_shared_bytes_),
        problems_);
    return problems_ ? 1 : 0;
  }

 private:
  void compile(const Work& work) {
    const std::string name = work.file + ".cl for sm_" + std::to_string(work.architecture) + ", " + work.defines;
    const char* source = gpu::kernel_source(work.file);
    gpu::cuda::Nvrtc::Target target;
    std::vector<uint8_t> cubin;
    std::vector<fake::KernelUse> uses;
    gpu::Outcome outcome = nvrtc_.target_for(work.architecture, &target);
    if (outcome.ok() && source) outcome = nvrtc_.compile(work.file, source, work.defines, target, &cubin);

    const std::lock_guard<std::mutex> lock(mutex_);
    if (!source) return complain(name + ": there is no such file");
    if (!outcome.ok()) return complain(name + ": " + outcome.message);
    if (!target.binary) return complain(name + ": this NVRTC does not compile for it");
    if (!fake::read_cubin(cubin, &uses)) return complain(name + ": the result is not a cubin with kernels");
    std::set<std::string> missing = work.entries;
    for (const fake::KernelUse& use : uses) {
      if (missing.erase(use.name)) check(work, use, name);
    }
    for (const std::string& entry : missing) complain(name + ": there is no kernel " + entry);
  }

  void check(const Work& work, const fake::KernelUse& use, const std::string& name) {
    ++kernels_;
    if (options_.list) {
      std::printf("sm_%d %3u registers %5llu shared %4u local  %s %s\n", work.architecture, use.registers,
                  static_cast<unsigned long long>(use.shared_bytes), use.local_bytes, use.name.c_str(),
                  work.defines.c_str());
    }
    if (use.registers > most_registers_) {
      most_registers_ = use.registers;
      busiest_ = use.name + " " + work.defines;
    }
    most_shared_bytes_ = std::max(most_shared_bytes_, use.shared_bytes);
    const unsigned threads = threads_of(work.defines);
    if (use.local_bytes > 0)
      complain(name + ": " + use.name + " has " + std::to_string(use.local_bytes) + " bytes of local memory");
    if (use.registers * threads > kMostRegisters)
      complain(name + ": " + use.name + " has " + std::to_string(use.registers) + " registers in each of " +
               std::to_string(threads) + " threads");
    if (use.shared_bytes > kMostSharedBytes)
      complain(name + ": " + use.name + " has " + std::to_string(use.shared_bytes) + " bytes of shared memory");
  }

  void complain(const std::string& what) {
    ++problems_;
    std::fprintf(stderr, "%s\n", what.c_str());
  }

  const gpu::cuda::Nvrtc& nvrtc_;
  const Options& options_;
  std::vector<Work> work_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  size_t kernels_ = 0;
  int problems_ = 0;
  unsigned most_registers_ = 0;
  std::string busiest_;
  uint64_t most_shared_bytes_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, &options)) {
    std::fprintf(stderr, "usage: %s [--nvrtc FILE] [--architectures 80,90] [--list] NETWORK...\n", argv[0]);
    return 2;
  }
  gpu::cuda::Nvrtc nvrtc;
  constexpr int kAnyDriver = 99000;
  const gpu::Outcome opened = options.nvrtc.empty() ? nvrtc.open(kAnyDriver) : nvrtc.open_file(options.nvrtc);
  if (!opened.ok()) {
    std::fprintf(stderr, "skipped: %s\n", opened.message.c_str());
    return kSkipped;
  }
  Compilation compilation(nvrtc, options);
  for (const int architecture : options.architectures) {
    Kernels kernels;
    for (const std::string& network : options.networks) {
      const Status status = add_kernels(network, architecture, &kernels);
      if (status.ok()) continue;
      std::fprintf(stderr, "%s\n", status.message().c_str());
      return 1;
    }
    compilation.add(architecture, kernels);
  }
  compilation.run();
  return compilation.report();
}
