#include "tests/fake_cuda/books.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/fake_cuda/fake_cuda.h"

namespace fake {
namespace {

constexpr size_t kGuard = 4096;
constexpr uint8_t kGuardValue = 0xa5;
constexpr size_t kAlignment = 256;
constexpr size_t kGap = 1 << 20;  // between allocations: a pointer that is a little off is in none
constexpr size_t kAddresses = size_t{1} << 42;
constexpr size_t kMostMisuses = 100;

}  // namespace

Books& Books::get() {
  static Books* const instance = new Books();  // programs may use the driver until their very end
  return *instance;
}

// Device addresses are taken from a range of the process that nothing can be read from: a host that follows one is
// stopped at once.
Books::Books() {
  void* range = mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    std::fputs("fake CUDA: no address space for device memory\n", stderr);
    std::abort();
  }
  next_address_ = reinterpret_cast<uintptr_t>(range) + kGap;
  end_of_addresses_ = reinterpret_cast<uintptr_t>(range) + kAddresses;
}

std::vector<Context*>& context_stack() {
  thread_local std::vector<Context*> stack;
  return stack;
}

Result Books::misused(const std::string& what, Result code) {
  if (misuses_.size() < kMostMisuses) misuses_.push_back("misuse: " + what);
  return code;
}

Result Books::failed(const std::string& error) {
  return error.empty() ? 0 : misused("OpenCL failed: " + error, kLaunchFailed);
}

std::shared_ptr<Memory> Books::find(DevicePointer pointer, size_t bytes) {
  auto at = memory.upper_bound(pointer);
  if (at != memory.begin()) {
    const std::shared_ptr<Memory>& block = (--at)->second;
    const size_t offset = pointer - block->address;
    if (offset <= block->bytes && bytes <= block->bytes - offset) return block;
  }
  misused(std::to_string(bytes) + " bytes at " + std::to_string(pointer) + " are not memory of the device", 0);
  return nullptr;
}

Result Books::allocate(Context* context, size_t bytes, DevicePointer* pointer) {
  size_t used = 0;
  for (const auto& entry : memory)
    if (entry.second->context == context) used += entry.second->bytes;
  const size_t most = setting("FAKE_CUDA_MEMORY", size_t{4} << 30);
  if (used > most || bytes > most - used || bytes + 2 * kGap > end_of_addresses_ - next_address_)
    return sparsenet::gpu::cuda::kOutOfMemory;
  auto block = std::make_shared<Memory>();
  block->context = context;
  block->bytes = bytes;
  block->address = (next_address_ + kAlignment - 1) / kAlignment * kAlignment;
  if (!runner.allocate(bytes + kGuard, &block->buffer).empty()) return sparsenet::gpu::cuda::kOutOfMemory;
  const Result result = failed(runner.fill(block->buffer, bytes, kGuardValue, kGuard));
  if (result) return result;
  next_address_ = block->address + bytes + kGap;
  memory[block->address] = block;
  *pointer = block->address;
  return 0;
}

void Books::free(const std::shared_ptr<Memory>& block) {
  std::vector<uint8_t> guard(kGuard);
  if (failed(runner.read(block->buffer, block->bytes, guard.data(), guard.size())) == 0 &&
      !std::all_of(guard.begin(), guard.end(), [](uint8_t byte) { return byte == kGuardValue; })) {
    misused("something wrote behind the end of " + std::to_string(block->bytes) + " bytes of device memory", 0);
  }
  block->is_freed = true;
  OpenClRunner::release(block->buffer);
  memory.erase(block->address);
}

void Books::end(Context* context) {
  run_all(context);
  std::string left;
  const auto note = [&](size_t count, const char* what) {
    if (count) left += " " + std::to_string(count) + " " + what;
  };
  size_t blocks = 0;
  for (auto at = memory.begin(); at != memory.end();) {
    const std::shared_ptr<Memory> block = (at++)->second;
    if (block->context != context) continue;
    free(block);
    ++blocks;
  }
  note(blocks, "blocks of memory");
  note(streams.remove_all(context), "streams");
  note(events.remove_all(context), "events");
  note(graphs.remove_all(context), "graphs");
  note(execs.remove_all(context), "executable graphs");
  note(modules.remove_all(context), "modules");
  functions.remove_all(context);
  if (!left.empty() && !context->is_out_of_reach) misused("a context ends in which are left:" + left, 0);
}

Result Books::run(Stream& stream) {
  std::vector<Work> work;
  work.swap(stream.pending);
  for (const Work& item : work) {
    if (stream.context->lost) break;
    stream.context->lost = item();
  }
  return stream.context->lost;
}

Result Books::run_all(Context* context) {
  for (const auto& entry : streams.all())
    if (entry.second->context == context) run(*entry.second);
  return context->lost;
}

std::string Books::report(size_t* count) {
  std::vector<std::string> lines;
  lines.swap(misuses_);
  const auto leaked = [&](size_t objects, const std::string& what) {
    if (objects) lines.push_back("leak: " + std::to_string(objects) + " " + what);
  };
  for (const auto& entry : memory) leaked(1, "block of " + std::to_string(entry.second->bytes) + " bytes");
  leaked(modules.all().size(), "modules");
  leaked(streams.all().size(), "streams");
  leaked(events.all().size(), "events");
  leaked(graphs.all().size(), "graphs");
  leaked(execs.all().size(), "executable graphs");
  for (const auto& entry : contexts) leaked(entry.second.retained, "times a primary context");
  leaked(context_stack().size(), "contexts on the thread's stack");
  *count = lines.size();
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

namespace {

struct AtEnd {
  ~AtEnd() {
    size_t count = 0;
    const std::string text = Books::get().report(&count);
    if (count == 0) return;
    std::fputs(("fake CUDA:\n" + text).c_str(), stderr);
    const unsigned long status = setting("FAKE_CUDA_EXIT", 0);
    if (status) _exit(static_cast<int>(status));
  }
};
const AtEnd at_end;

}  // namespace
}  // namespace fake

#define FAKE_EXPORT extern "C" __attribute__((visibility("default")))

FAKE_EXPORT size_t fake_cuda_report(char* text, size_t capacity) {
  fake::Books& books = fake::Books::get();
  const std::lock_guard<std::mutex> lock(books.mutex);
  size_t count = 0;
  const std::string report = books.report(&count);
  if (text && capacity) text[report.copy(text, capacity - 1)] = 0;
  return count;
}

FAKE_EXPORT const char* const* fake_cuda_functions(void) {
  static const char* const names[] = {
#define FAKE_NAME(name, parameters) #name,
      SPARSENET_CUDA_FUNCTIONS(FAKE_NAME)
#undef FAKE_NAME
          nullptr};
  return names;
}

FAKE_EXPORT unsigned long fake_cuda_calls(const char* name) {
  fake::Books& books = fake::Books::get();
  const std::lock_guard<std::mutex> lock(books.mutex);
  return books.faults.calls(name);
}

FAKE_EXPORT void fake_cuda_fail(const char* faults) {
  fake::Books& books = fake::Books::get();
  const std::lock_guard<std::mutex> lock(books.mutex);
  books.faults.set(faults);
}
