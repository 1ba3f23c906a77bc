#include "backends/gpu/builder.h"

#include <sparsenet/half.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace sparsenet::gpu {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kMostGroups = 65535;  // of the second and third dimension, in CUDA

uint64_t round_up(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

bool is_float(const snp_view* view) {
  return !view || view->type == SNP_FLOAT32;
}

uint64_t pixels(const snp_view& view) {
  return static_cast<uint64_t>(view.n) * static_cast<uint64_t>(view.h) * static_cast<uint64_t>(view.w);
}

// Whether a kernel's loops, which count pixels and channels in 32 bits with a sign, can walk over the view. Threads of
// the last groups count a little further.
bool fits(const snp_view* view) {
  constexpr uint64_t most = 0x7fffffff - 0xffff;
  if (!view) return true;
  if (view->n < 1 || view->h < 1 || view->w < 1 || view->c < 1 || view->segment_count < 1) return false;
  return static_cast<uint64_t>(view->h) * static_cast<uint64_t>(view->w) <= most / static_cast<uint64_t>(view->n) &&
         pixels(*view) <= most / static_cast<uint64_t>(view->c);
}

}  // namespace

uint64_t type_bytes(uint32_t type) {
  constexpr uint64_t bytes[] = {4, 4, 8, 1, 1, 2};
  return type <= SNP_FLOAT16 ? bytes[type] : 0;
}

LowerFunction find_lowering(const snp_step& step) {
  if (step.quant || !is_float(step.in) || !is_float(step.in2) || !is_float(step.out)) return lower_integers;
  switch (step.op) {
    case SNP_CONV:
      return lower_conv;
    case SNP_POOL:
    case SNP_GLOBAL_POOL:
      return lower_pool;
    case SNP_AFFINE:
    case SNP_UNARY:
      return lower_affine;
    case SNP_BINARY:
      return lower_binary;
    case SNP_SOFTMAX:
      return lower_softmax;
    case SNP_REDUCE_MEAN:
      return lower_reduce;
    case SNP_STRIDED_COPY:
      return lower_copy;
    case SNP_ATTENTION:
      return lower_attention;
    case SNP_MAT_MUL:
      return lower_mat_mul;
    case SNP_LAYER_NORM:
      return lower_layer_norm;
    default:
      return nullptr;
  }
}

const char* Builder::lower(const snp_step& step) {
  const LowerFunction function = find_lowering(step);
  if (!function) return "it is of a kind that this plugin does not know";
  if (!step.in || !step.out) return "it has no input or no output";
  if (half() && !(is_float(step.in) && is_float(step.in2) && is_float(step.out)))
    return "float16 storage is for plans of float32 values only, and it has integers; float32 storage takes both";
  if (!fits(step.in) || !fits(step.in2) || !fits(step.out))
    return "a view is empty, or has more elements than 32 bits count";
  error_ = nullptr;
  step_scratch_ = 0;
  const char* reason = function(step, *this);
  return reason ? reason : error_;
}

const char* Builder::lower(const snp_port& port, bool input) {
  if (half() && !is_float(port.view))
    return "float16 storage is for plans of float32 values only, and it has integers; float32 storage takes both";
  if (!port.view || !fits(port.view)) return "its view is empty, or has more elements than 32 bits count";
  error_ = nullptr;
  step_scratch_ = 0;
  scratch(port.bytes);
  const char* reason = lower_port(port, input, *this);
  return reason ? reason : error_;
}

const char* Builder::reason(uint32_t step) {
  BuildOptions options = options_;
  options.measure_only = true;
  Program program;
  Builder builder(plan_, options);
  builder.program_ = &program;
  builder.launches_ = &program.launches;
  return builder.lower(*SNP_AT(snp_step, plan_.steps, step));
}

Outcome Builder::build(Program* program) {
  *program = Program();
  if (!options_.measure_only) {  // constants may be large: their block is allocated once
    BuildOptions options = options_;
    options.measure_only = true;
    Program sizes;
    const Outcome outcome = Builder(plan_, options).build(&sizes);
    if (!outcome.ok()) return outcome;
    program->weights.reserve(static_cast<size_t>(sizes.weights_bytes));
  }
  program_ = program;
  tables_.clear();
  placed_.clear();

  program->arena_bytes = plan_.arena_bytes;
  if (half()) program->arena_bytes = round_up(plan_.arena_bytes, 4) / 4 * element_bytes();
  if (plan_.arena_bytes / 4 > kMost)
    return failure(SNP_UNSUPPORTED, "activations of " + std::to_string(plan_.arena_bytes) +
                                        " bytes are more than kernels address (16 GiB); use a smaller batch");
  arena_end_ = program->arena_bytes;

  launches_ = &program->launches;
  for (uint32_t i = 0; i < plan_.step_count; ++i) {
    const snp_step& step = *SNP_AT(snp_step, plan_.steps, i);
    step_ = i;
    if (const char* reason = lower(step))
      return failure(SNP_UNSUPPORTED, "step " + std::to_string(i) + " (" + (step.name ? step.name : "") +
                                          ") cannot run on this device: " + reason);
  }
  step_ = plan_.step_count;
  for (const bool input : {true, false}) {
    const uint32_t count = input ? plan_.input_count : plan_.output_count;
    const snp_port* ports = input ? plan_.inputs : plan_.outputs;
    std::vector<std::vector<Launch>>& all = input ? program->input_launches : program->output_launches;
    all.resize(count);
    for (uint32_t i = 0; i < count; ++i) {
      const snp_port& port = *SNP_AT(snp_port, ports, i);
      launches_ = &all[i];
      if (const char* reason = lower(port, input))
        return failure(SNP_UNSUPPORTED, std::string(input ? "input " : "output ") + std::to_string(i) + " (" +
                                            (port.name ? port.name : "") + ") cannot be copied: " + reason);
    }
  }
  return {};
}

uint32_t Builder::counters(uint64_t count) {
  constexpr uint64_t kUnit = 256;
  const uint64_t at = round_up(arena_end_, kUnit);
  program_->arena_bytes = std::max(program_->arena_bytes, at + round_up(count * sizeof(int32_t), kUnit));
  return static_cast<uint32_t>(at / kUnit);
}

// ---- Weights --------------------------------------------------------------------------------------------------------

void Builder::fail(const char* reason) {
  if (!error_) error_ = reason;
}

uint32_t Builder::weight_bytes(const void* data, uint64_t bytes) {
  const uint64_t at = program_->weights_bytes;
  if (bytes > kMost || at + bytes > kMost - 16) {
    fail("the weights up to it take more than 4 GiB");
    return 0;
  }
  program_->weights_bytes = at + round_up(bytes, 16);
  if (!measure_only()) {
    program_->weights.resize(static_cast<size_t>(program_->weights_bytes));
    if (data && bytes) std::memcpy(program_->weights.data() + at, data, static_cast<size_t>(bytes));
  }
  return static_cast<uint32_t>(at);
}

uint32_t Builder::weight_floats(const std::vector<float>& values) {
  return weight_bytes(values.data(), values.size() * 4);
}

uint32_t Builder::weight_elements(const std::vector<float>& values) {
  if (!half()) return weight_floats(values);
  if (measure_only()) return weight_bytes(nullptr, values.size() * 2);
  std::vector<uint16_t> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), [](float value) { return float_to_half(value); });
  return weight_bytes(halves.data(), halves.size() * 2);
}

uint32_t Builder::weight_elements(const snp_parameter& parameter, uint64_t count) {
  return elements_of_constant(parameter.constant, parameter.offset, count);
}

uint32_t Builder::elements_of_constant(int32_t constant, uint64_t offset, uint64_t count) {
  const std::array<uint64_t, 3> key{static_cast<uint64_t>(constant), offset, count};
  const auto found = placed_.find(key);
  if (found != placed_.end()) return found->second;
  snp_parameter parameter{};
  parameter.struct_size = sizeof parameter;
  parameter.constant = constant;
  parameter.offset = offset;
  uint32_t at = 0;
  if (measure_only()) {
    if (has(parameter, count)) at = weight_bytes(nullptr, count * element_bytes());
  } else {
    at = weight_elements(floats_of(parameter, count));
  }
  return placed_[key] = at;
}

bool Builder::has(const snp_parameter& parameter, uint64_t count) const {
  if (parameter.constant < 0 || static_cast<uint32_t>(parameter.constant) >= plan_.constant_count) return false;
  const snp_constant& constant = *SNP_AT(snp_constant, plan_.constants, parameter.constant);
  const uint64_t size = type_bytes(constant.type);
  if (size == 0 || parameter.offset % size != 0) return false;
  const uint64_t first = parameter.offset / size;
  return first <= constant.elements && count <= constant.elements - first;
}

uint32_t Builder::type_of(const snp_parameter& parameter) const {
  if (!has(parameter, 0)) return SNP_FLOAT32;
  return SNP_AT(snp_constant, plan_.constants, parameter.constant)->type;
}

const void* Builder::data_of(const snp_parameter& parameter) const {
  if (!has(parameter, 0)) return nullptr;
  const void* data = SNP_AT(snp_constant, plan_.constants, parameter.constant)->data;
  return data ? static_cast<const uint8_t*>(data) + parameter.offset : nullptr;
}

const void* Builder::integers_of(const snp_parameter& parameter, uint32_t type, uint64_t count) {
  if (!has(parameter, count) || type_of(parameter) != type) {
    fail("its integers lie outside of their constant, or the constant is of another type");
    return nullptr;
  }
  if (measure_only()) return nullptr;
  const void* data = data_of(parameter);
  if (!data) fail("a constant has no data");
  return data;
}

std::vector<float> Builder::floats_of(const snp_parameter& parameter, uint64_t count) {
  if (!has(parameter, count)) {
    fail("its parameters lie outside of their constant");
    return std::vector<float>(static_cast<size_t>(std::min<uint64_t>(count, kMost)));
  }
  std::vector<float> values(static_cast<size_t>(count));
  if (measure_only() || count == 0) return values;
  const uint32_t type = type_of(parameter);
  const void* data = data_of(parameter);
  if (!data) {
    fail("a constant has no data");
  } else if (type == SNP_FLOAT32) {
    std::memcpy(values.data(), data, values.size() * 4);
  } else if (type == SNP_FLOAT16) {
    half_to_float(static_cast<const uint16_t*>(data), values.size(), values.data());
  } else {
    fail("its parameters are integers where float32 or float16 is expected");
  }
  return values;
}

// ---- Views, scratch, choices, launches ------------------------------------------------------------------------------

ViewArg Builder::view(const snp_view& view) {
  ViewArg arg{0, 0, -1};
  if (is_plain(view)) {
    const snp_segment& segment = view.segments[0];
    if (segment.offset / 4 > kMost) fail("a view lies beyond the 16 GiB that kernels address");
    arg.offset = static_cast<uint32_t>(segment.offset / 4);
    arg.stride = segment.pixel_stride;
    return arg;
  }
  std::vector<uint32_t> table;
  table.reserve(static_cast<size_t>(view.c) * 2);
  for (uint32_t i = 0; i < view.segment_count; ++i) {
    const snp_segment& segment = *SNP_AT(snp_segment, view.segments, i);
    const uint64_t stride = static_cast<uint64_t>(segment.pixel_stride);
    uint64_t first = segment.offset / 4;
    int32_t step = segment.pixel_stride;
    if (segment.constant >= 0) {
      const uint64_t count = (pixels(view) - 1) * stride + static_cast<uint64_t>(segment.channels);
      first = elements_of_constant(segment.constant, segment.offset, count) / element_bytes();
      step = ~segment.pixel_stride;
    }
    if (first + static_cast<uint64_t>(segment.channels) > kMost)
      fail("a view lies beyond the 16 GiB that kernels address");
    for (int32_t c = 0; c < segment.channels; ++c) {
      table.push_back(static_cast<uint32_t>(first) + static_cast<uint32_t>(c));
      table.push_back(static_cast<uint32_t>(step));
    }
  }
  const std::string key(reinterpret_cast<const char*>(table.data()), table.size() * 4);
  auto found = tables_.find(key);
  if (found == tables_.end()) found = tables_.emplace(key, weight_bytes(table.data(), table.size() * 4)).first;
  arg.table = static_cast<int>(found->second / 16);
  return arg;
}

uint32_t Builder::scratch(uint64_t bytes) {
  const uint64_t at = step_scratch_;
  if (bytes > kMost || at + bytes > kMost - 256) {
    fail("it needs more than 4 GiB of scratch memory");
    return 0;
  }
  step_scratch_ = at + round_up(bytes, 256);
  program_->scratch_bytes = std::max(program_->scratch_bytes, step_scratch_);
  return static_cast<uint32_t>(at);
}

int Builder::choose(const std::string& key, int count, int fixed) {
  for (const Choice& choice : program_->choices)
    if (choice.key == key) return choice.taken;
  Choice choice{key, count, fixed, step_};
  if (options_.tuning) {
    const auto found = options_.tuning->find(key);
    if (found != options_.tuning->end() && found->second >= 0 && found->second < count) choice.taken = found->second;
  }
  program_->choices.push_back(choice);
  return choice.taken;
}

Launch& Builder::add(const char* file, const char* entry, const std::string& defines, std::array<uint32_t, 3> groups,
                     std::array<uint32_t, 3> group, const void* params, size_t bytes) {
  if (groups[0] > 0x7fffffff || groups[1] > kMostGroups || groups[2] > kMostGroups)
    fail("it takes more groups of threads than a device has in one launch");
  if (group[0] * group[1] * group[2] > device().max_group)
    fail("the device runs too few threads in a group for its kernel");
  Launch launch;
  launch.kernel.file = file;
  launch.kernel.entry = entry;
  launch.kernel.defines = defines;
  const char* names[3] = {"-DGROUP_X=", "-DGROUP_Y=", "-DGROUP_Z="};
  for (size_t i = 0; i < 3; ++i) {
    if (!launch.kernel.defines.empty()) launch.kernel.defines += ' ';
    launch.kernel.defines += names[i] + std::to_string(group[i]);
  }
  if (half()) launch.kernel.defines += " -DSTORE_HALF";
  launch.groups = groups;
  launch.group = group;
  launch.params.resize(bytes);
  std::memcpy(launch.params.data(), params, bytes);
  launch.step = step_;
  launches_->push_back(std::move(launch));
  return launches_->back();
}

Activation Builder::activation(const snp_act* act) {
  const float infinity = std::numeric_limits<float>::infinity();
  Activation result{0, -infinity, infinity, 0.f, 0.f};
  if (act) result = {static_cast<int>(act->kind), act->low, act->high, act->alpha, act->beta};
  return result;
}

}  // namespace sparsenet::gpu
