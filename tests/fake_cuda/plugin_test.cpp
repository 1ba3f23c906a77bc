// Runs the plugin "cuda" on the fake driver: that results are right, that nothing is left, and that each single call of
// the driver and of the compiler may fail, which gives one line that names it, and leaves nothing behind either.
//
//   fake_cuda_plugin_test libsparsenet_cuda.so libcuda.so.1 libnvrtc.so.fake
#include <dlfcn.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/plan.h"

namespace {

using fake::SmallPlan;

constexpr int kDeviceFault = 719;

int failures = 0;

void expect(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
}

template <class Function>
Function find(void* library, const char* name) {
  const auto function = reinterpret_cast<Function>(dlsym(library, name));
  if (function) return function;
  std::fprintf(stderr, "no %s\n", name);
  std::exit(2);
}

void* open_library(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library) return library;
  std::fprintf(stderr, "%s\n", dlerror());
  std::exit(2);
}

// A fake library: the driver or the compiler.
struct Fake {
  Fake(void* library, const std::string& prefix)
      : report(find<decltype(&fake_cuda_report)>(library, (prefix + "_report").c_str())),
        functions(find<decltype(&fake_cuda_functions)>(library, (prefix + "_functions").c_str())),
        calls(find<decltype(&fake_cuda_calls)>(library, (prefix + "_calls").c_str())),
        fail(find<decltype(&fake_cuda_fail)>(library, (prefix + "_fail").c_str())) {}
  decltype(&fake_cuda_report) report;
  decltype(&fake_cuda_functions) functions;
  decltype(&fake_cuda_calls) calls;
  decltype(&fake_cuda_fail) fail;
};

struct Host {
  std::atomic<int64_t> reserved{0};
  snp_host table{};
  Host() {
    table.major = SNP_MAJOR;
    table.minor = SNP_MINOR;
    table.size = sizeof(table);
    table.capabilities = SNP_HOST_ACCOUNTS;
    table.self = this;
    table.reserve = [](void* self, uint32_t, uint64_t bytes) {
      static_cast<Host*>(self)->reserved += static_cast<int64_t>(bytes);
      return SNP_OK;
    };
    table.release = [](void* self, uint32_t, uint64_t bytes) {
      static_cast<Host*>(self)->reserved -= static_cast<int64_t>(bytes);
    };
  }
};

struct Bench {
  const snp_plugin* plugin;
  Fake driver, compiler;
  Host& host;
  int (*allocate)(unsigned long long* pointer, size_t bytes);
  int (*free)(unsigned long long pointer);
  int (*retain)(void** context, int device);
  int (*release)(int device);
  int (*push)(void* context);
  int (*pop)(void** context);
  SmallPlan plan;

  Bench(const snp_plugin* table, void* driver_library, void* compiler_library, Host& its_host)
      : plugin(table),
        driver(driver_library, "fake_cuda"),
        compiler(compiler_library, "fake_nvrtc"),
        host(its_host),
        allocate(find<decltype(allocate)>(driver_library, "cuMemAlloc_v2")),
        free(find<decltype(free)>(driver_library, "cuMemFree_v2")),
        retain(find<decltype(retain)>(driver_library, "cuDevicePrimaryCtxRetain")),
        release(find<decltype(release)>(driver_library, "cuDevicePrimaryCtxRelease_v2")),
        push(find<decltype(push)>(driver_library, "cuCtxPushCurrent_v2")),
        pop(find<decltype(pop)>(driver_library, "cuCtxPopCurrent_v2")) {}

  void fail(const char* faults) const {
    driver.fail(faults);
    compiler.fail(faults);
  }

  void expect_nothing_left(const std::string& when) const {
    for (const Fake* fake : {&driver, &compiler}) {
      char text[4096];
      expect(fake->report(text, sizeof(text)) == 0, when + ": " + text);
    }
    expect(host.reserved == 0, when + ": " + std::to_string(host.reserved) + " bytes are still reserved");
  }
};

snp_options options_of(uint32_t precision) {
  snp_options options{};
  options.struct_size = sizeof(options);
  options.precision = precision;
  return options;
}

void expect_close(const std::vector<float>& found, const std::vector<float>& expected, float tolerance,
                  const std::string& when) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::fabs(found[i] - expected[i]) <= tolerance) continue;
    expect(false, when + ": output " + std::to_string(i) + " is " + std::to_string(found[i]) + " instead of " +
                      std::to_string(expected[i]));
    return;
  }
}

// One run with host memory. Stops at the first failure, whose status it returns.
snp_status run_once(const Bench& bench, snp_prepared* prepared, int seed, float tolerance, const std::string& when) {
  const std::vector<float> input = SmallPlan::input(seed);
  std::vector<float> output(SmallPlan::kOut, NAN);
  snp_status status = bench.plugin->set_input(prepared, 0, input.data(), input.size() * sizeof(float), SNP_HOST_MEMORY);
  if (!status) status = bench.plugin->run(prepared);
  if (!status)
    status = bench.plugin->get_output(prepared, 0, output.data(), output.size() * sizeof(float), SNP_HOST_MEMORY);
  if (!status) expect_close(output, bench.plan.output(input), tolerance, when);
  return status;
}

// Everything that a host does with a plugin. *message is that of the first failure.
snp_status use(const Bench& bench, uint32_t precision, std::string* message) {
  const snp_plugin& plugin = *bench.plugin;
  const float tolerance = precision == SNP_FLOAT16 ? 2e-3f : 1e-5f;
  const snp_options options = options_of(precision);
  uint32_t count = 0;
  snp_device device{};
  device.struct_size = sizeof(device);
  snp_needs needs{};
  needs.struct_size = sizeof(needs);
  snp_prepared* prepared = nullptr;
  snp_status status = plugin.count_devices(&count);
  if (!status) status = plugin.describe_device(0, &device);
  if (!status) status = plugin.measure(&bench.plan.plan(), &options, &needs);
  if (!status) status = plugin.prepare(&bench.plan.plan(), &options, &prepared);
  for (int seed = 0; !status && seed < 2; ++seed)
    status = run_once(bench, prepared, seed, tolerance, "run " + std::to_string(seed));
  snp_step_profile profiles[2] = {};
  for (snp_step_profile& profile : profiles) profile.struct_size = sizeof(profile);
  if (!status) status = plugin.profile(prepared, profiles, 2);
  if (!status) status = plugin.run_async(prepared);
  if (!status) status = plugin.wait(prepared);
  if (status) *message = plugin.last_error();
  plugin.destroy(prepared);
  return status;
}

bool is_one_line(const std::string& text) {
  return !text.empty() && text.find('\n') == std::string::npos && text.size() < 1000;
}

// Functions that free something, or are called for that too: a failure of theirs then is nobody's to report.
bool frees(const std::string& name) {
  static const std::set<std::string> names{"cuDevicePrimaryCtxRelease_v2",
                                           "cuCtxPushCurrent_v2",
                                           "cuCtxPopCurrent_v2",
                                           "cuMemFree_v2",
                                           "cuModuleUnload",
                                           "cuStreamDestroy_v2",
                                           "cuStreamSynchronize",
                                           "cuGraphDestroy",
                                           "cuGraphExecDestroy",
                                           "cuEventDestroy_v2",
                                           "nvrtcDestroyProgram"};
  return names.count(name) != 0;
}

void use_with_fault(const Bench& bench, const std::string& name, unsigned long call, int code) {
  const std::string fault = name + ":" + std::to_string(call) + ":" + std::to_string(code);
  std::string message;
  bench.fail(fault.c_str());
  const snp_status status = use(bench, SNP_FLOAT32, &message);
  bench.fail(nullptr);
  bench.expect_nothing_left(fault);
  if (frees(name) && status == SNP_OK) return;
  expect(status != SNP_OK, fault + " goes unnoticed");
  expect(is_one_line(message), fault + ": the message is \"" + message + "\"");
  if (code != kDeviceFault)
    expect(message.find(name) != std::string::npos, fault + ": the message is \"" + message + "\"");
}

// What opens the driver, and then the compiler, succeeds once only: so each of these calls fails before anything has
// succeeded.
struct Opening {
  const char* name;
  unsigned long calls;
};
constexpr Opening kDriverOpening[] = {
    {"cuInit", 1},          {"cuDriverGetVersion", 1},  {"cuDeviceGetCount", 1},    {"cuDeviceGet", 1},
    {"cuDeviceGetName", 1}, {"cuDeviceTotalMem_v2", 1}, {"cuDeviceGetAttribute", 6}};
constexpr Opening kCompilerOpening[] = {
    {"nvrtcVersion", 1}, {"nvrtcGetNumSupportedArchs", 1}, {"nvrtcGetSupportedArchs", 1}};

template <size_t count>
void test_opening(const Bench& bench, const Fake& fake, const Opening (&list)[count]) {
  for (const Opening& opening : list)
    for (unsigned long call = 1; call <= opening.calls; ++call) use_with_fault(bench, opening.name, call, 1);
  std::string message;
  bench.fail(nullptr);
  expect(use(bench, SNP_FLOAT32, &message) == SNP_OK || &fake == &bench.driver, "a run without faults: " + message);
  for (const Opening& opening : list)
    expect(fake.calls(opening.name) == opening.calls, std::string(opening.name) + " is called another number of times");
}

void test_each_call_fails(const Bench& bench) {
  std::string message;
  bench.fail(nullptr);
  expect(use(bench, SNP_FLOAT32, &message) == SNP_OK, "a run without faults: " + message);
  std::vector<std::pair<std::string, unsigned long>> all;
  for (const Fake* fake : {&bench.driver, &bench.compiler})
    for (const char* const* name = fake->functions(); *name; ++name) all.emplace_back(*name, fake->calls(*name));
  bench.expect_nothing_left("a run without faults");

  size_t cases = 0;
  for (const auto& [name, calls] : all) {
    for (unsigned long call = 1; call <= calls; ++call) {
      const bool is_compiler = name.rfind("nvrtc", 0) == 0;
      for (const int code : {1, 2, kDeviceFault, 999}) {
        if (is_compiler && code > 2) continue;
        use_with_fault(bench, name, call, code);
        ++cases;
      }
    }
  }
  std::printf("%zu cases in which one call failed\n", cases);
  bench.fail("cuMemAlloc_v2:1:2,cuGetErrorName:0:1,cuGetErrorString:0:1");
  expect(use(bench, SNP_FLOAT32, &message) == SNP_NO_MEMORY, "no memory: another status");
  expect(message.find("error 2") != std::string::npos, "an error without a name: " + message);
  bench.fail("nvrtcCompileProgram:1:6");
  expect(use(bench, SNP_FLOAT32, &message) == SNP_FAILED, "no compilation: another status");
  expect(message.find("told to fail") != std::string::npos, "the compiler's log is missing: " + message);
  bench.fail(nullptr);
  expect(use(bench, SNP_FLOAT32, &message) == SNP_OK, "after all faults: " + message);
}

// Plans share what is compiled, and may go in any order.
void test_several_plans(const Bench& bench) {
  const snp_options single = options_of(SNP_FLOAT32), half = options_of(SNP_FLOAT16);
  for (int order = 0; order < 6; ++order) {
    snp_prepared* plans[3] = {};
    for (int i = 0; i < 3; ++i)
      expect(bench.plugin->prepare(&bench.plan.plan(), i < 2 ? &single : &half, &plans[i]) == SNP_OK, "prepare");
    constexpr int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 3; ++i) {
      for (int k = i; k < 3; ++k) {
        const int left = kOrders[order][k];
        const snp_status status = run_once(bench, plans[left], order, left == 2 ? 2e-3f : 1e-5f, "several plans");
        expect(status == SNP_OK, std::string("several plans: ") + bench.plugin->last_error());
      }
      bench.plugin->destroy(plans[kOrders[order][i]]);
    }
  }
  bench.expect_nothing_left("several plans");
}

void test_threads(const Bench& bench) {
  std::atomic<int> problems{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&bench, &problems, i] {
      std::string message;
      for (int k = 0; k < 5; ++k)
        if (use(bench, i % 2 ? SNP_FLOAT16 : SNP_FLOAT32, &message) != SNP_OK) ++problems;
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect(problems == 0, "threads");
  bench.expect_nothing_left("threads");
}

// Memory of the caller's on the device; the caller's context is current before and after.
void test_device_memory(const Bench& bench) {
  const snp_options options = options_of(SNP_FLOAT32);
  const std::vector<float> input = SmallPlan::input(3);
  const size_t in_bytes = input.size() * sizeof(float), out_bytes = SmallPlan::kOut * sizeof(float);
  void* context = nullptr;
  expect(bench.retain(&context, 0) == 0 && bench.push(context) == 0, "a context of the caller's");
  unsigned long long means = 0;
  expect(bench.allocate(&means, out_bytes) == 0, "memory of the caller's");
  snp_prepared *first = nullptr, *second = nullptr;
  const snp_plugin& plugin = *bench.plugin;
  snp_status status = plugin.prepare(&bench.plan.plan(), &options, &first);
  if (!status) status = plugin.prepare(&bench.plan.plan(), &options, &second);
  if (!status) status = plugin.set_input(first, 0, input.data(), in_bytes, SNP_HOST_MEMORY);
  if (!status) status = plugin.run(first);
  void* pointer = reinterpret_cast<void*>(static_cast<uintptr_t>(means));
  if (!status) status = plugin.get_output(first, 0, pointer, out_bytes, SNP_DEVICE_MEMORY);
  unsigned long long image = 0;
  expect(bench.allocate(&image, in_bytes) == 0, "memory of the caller's");
  void* image_pointer = reinterpret_cast<void*>(static_cast<uintptr_t>(image));
  if (!status) status = plugin.set_input(second, 0, image_pointer, in_bytes, SNP_DEVICE_MEMORY);
  if (!status) status = plugin.run(second);
  expect(status == SNP_OK, std::string("device memory: ") + plugin.last_error());
  expect(plugin.set_input(second, 0, pointer, in_bytes, SNP_DEVICE_MEMORY) == SNP_FAILED,
         "device memory that is too small is taken");
  char misuses[4096];
  expect(bench.driver.report(misuses, sizeof(misuses)) > 0, "device memory that is too small goes unnoticed");
  plugin.destroy(first);
  plugin.destroy(second);
  void* current = nullptr;
  expect(bench.free(means) == 0 && bench.free(image) == 0 && bench.pop(&current) == 0 && current == context,
         "the caller's context");
  expect(bench.release(0) == 0, "the caller's context");
  bench.expect_nothing_left("device memory");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s PLUGIN LIBCUDA LIBNVRTC\n", argv[0]);
    return 2;
  }
  // Libraries that are open are found by their names, so the plugin gets this driver.
  void* driver = open_library(argv[2]);
  void* compiler = open_library(argv[3]);
  const auto entry = find<snp_entry_function>(open_library(argv[1]), SNP_ENTRY_NAME);
  Host host;
  const char* why = nullptr;
  const snp_plugin* plugin = entry(&host.table, &why);
  if (!plugin) {
    std::fprintf(stderr, "the plugin refuses: %s\n", why ? why : "");
    return 2;
  }
  const Bench bench(plugin, driver, compiler, host);
  if (find<int (*)(unsigned)>(driver, "cuInit")(0) != 0) {
    std::fprintf(stderr, "skipped: the fake driver finds no OpenCL device to run kernels on\n");
    bench.driver.report(nullptr, 0);
    return 77;
  }
  // The driver is opened while the compiler still fails.
  setenv("SPARSENET_NVRTC", "/no/such/file", 1);
  test_opening(bench, bench.driver, kDriverOpening);
  setenv("SPARSENET_NVRTC", argv[3], 1);
  test_opening(bench, bench.compiler, kCompilerOpening);
  test_each_call_fails(bench);
  test_several_plans(bench);
  test_threads(bench);
  test_device_memory(bench);
  std::printf("%d failures\n", failures);
  return failures ? 1 : 0;
}
