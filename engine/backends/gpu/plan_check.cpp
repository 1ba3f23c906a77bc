#include "backends/gpu/plan_check.h"

#include "backends/gpu/builder.h"

namespace sparsenet::gpu {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 62;

// Checks return null, or what is wrong.
using Fault = const char*;

// Whether a structure, or an array of `count` structures, is there and as large as this version has them.
template <class T>
bool there(const T* structures, uint64_t count = 1) {
  if (count == 0) return true;
  if (!structures || reinterpret_cast<uintptr_t>(structures) % alignof(T) != 0) return false;
  for (uint64_t i = 0; i < count; ++i) {
    const uint32_t size = SNP_AT(T, structures, i)->struct_size;
    if (size < sizeof(T) || size % alignof(T) != 0 || size != structures->struct_size) return false;
  }
  return true;
}

class Checker {
 public:
  explicit Checker(const snp_plan& plan) : plan_(plan) {}

  Fault view(const snp_view* view) const {
    if (!there(view)) return "a view is missing or too short";
    const uint64_t size = type_bytes(view->type);
    if (size == 0) return "a view has elements of an unknown type";
    if (view->n < 1 || view->h < 1 || view->w < 1 || view->c < 1) return "a view is empty";
    if (view->segment_count < 1 || !there(view->segments, view->segment_count))
      return "a view's segments are missing or too short";
    const uint64_t images = static_cast<uint64_t>(view->n) * static_cast<uint64_t>(view->h);
    if (images > kMostBytes / static_cast<uint64_t>(view->w)) return "a view has too many pixels";
    const uint64_t pixels = images * static_cast<uint64_t>(view->w);
    int64_t channels = 0;
    for (uint32_t i = 0; i < view->segment_count; ++i) {
      const snp_segment& segment = *SNP_AT(snp_segment, view->segments, i);
      if (segment.channels < 1 || segment.pixel_stride < 0) return "a segment has no channels or a negative stride";
      channels += segment.channels;
      uint64_t available = plan_.arena_bytes, element = size;
      if (segment.constant >= 0) {
        if (!constant(segment.constant)) return "a view refers to a constant that is not there";
        const snp_constant& data = *SNP_AT(snp_constant, plan_.constants, segment.constant);
        if (data.type != view->type && !(data.type == SNP_FLOAT16 && view->type == SNP_FLOAT32))
          return "a view and its constant differ in type";
        element = type_bytes(data.type);
        available = data.elements * element;
      }
      const uint64_t stride = static_cast<uint64_t>(segment.pixel_stride);
      if (stride != 0 && pixels > kMostBytes / 8 / stride) return "a view is larger than any memory";
      const uint64_t bytes = ((pixels - 1) * stride + static_cast<uint64_t>(segment.channels)) * element;
      if (segment.offset % element != 0) return "a view's offset is no multiple of its elements' size";
      if (segment.offset > available || bytes > available - segment.offset)
        return "a view reaches beyond the arena or its constant";
    }
    return channels == view->c ? nullptr : "a view's segments do not add up to its channels";
  }

  Fault parameter(const snp_parameter* parameter) const {
    if (!there(parameter)) return "a parameter is missing or too short";
    return constant(parameter->constant) ? nullptr : "a parameter refers to a constant that is not there";
  }

  Fault act(const snp_act* act) const {
    if (!act) return nullptr;
    if (!there(act)) return "an activation is too short";
    return act->kind <= SNP_POW ? nullptr : "an activation is of an unknown kind";
  }

  Fault affine(const snp_affine* affine) const {
    if (!affine) return nullptr;
    if (!there(affine)) return "an affine is too short";
    const Fault fault = parameter(affine->scale);
    return fault ? fault : parameter(affine->shift);
  }

  Fault window(const snp_window* window) const {
    if (!there(window)) return "its window is missing or too short";
    const bool positive = window->kernel_h > 0 && window->kernel_w > 0 && window->stride_h > 0 &&
                          window->stride_w > 0 && window->dilation_h > 0 && window->dilation_w > 0;
    return positive ? nullptr : "its window has a size, stride or dilation below 1";
  }

  Fault conv(const snp_step& step) const {
    if (!there(step.conv)) return "its convolution is missing or too short";
    const int32_t groups = step.conv->groups;
    if (groups < 1 || step.in->c % groups != 0 || step.out->c % groups != 0)
      return "its groups do not divide its channels";
    Fault fault = window(step.window);
    if (!fault) fault = parameter(step.conv->weight);
    if (!fault && step.conv->bias) fault = parameter(step.conv->bias);
    return fault;
  }

  Fault strided(const snp_strided* strided) const {
    if (!there(strided)) return "its index space is missing or too short";
    if (strided->rank < 0 || strided->rank > SNP_MAX_DIMS) return "its index space has a rank that is not 0 to 8";
    if (strided->reduced_from < 0 || strided->reduced_from > strided->rank)
      return "its index space reduces from a dimension that is not there";
    uint64_t elements = 1;
    for (int32_t d = 0; d < strided->rank; ++d) {
      const int64_t size = strided->dims[d];
      if (size < 1 || elements > kMostBytes / static_cast<uint64_t>(size))
        return "its index space is empty or too large";
      elements *= static_cast<uint64_t>(size);
    }
    return nullptr;
  }

  Fault attention(const snp_attention* attention) const {
    if (!there(attention)) return "its parameters are missing or too short";
    if (attention->hidden < 0) return "its hidden size is negative";
    Fault fault = nullptr;
    for (int i = 0; i < (attention->hidden == 0 ? 8 : 4) && !fault; ++i) fault = parameter(attention->params[i]);
    if (!fault) fault = act(attention->act);
    return fault ? fault : act(attention->gate);
  }

  Fault quant(const snp_quant* quant, bool nested) const {
    if (!quant) return nullptr;
    if (!there(quant)) return "its integers' arithmetic is too short";
    if (quant->multiplier_count > 0 && !quant->multipliers) return "its multipliers are missing";
    if (!quant->residual) return nullptr;
    return nested ? "the sum behind its sum is one too many" : this->quant(quant->residual, true);
  }

  Fault step(const snp_step& step) const {
    Fault fault = view(step.in);
    if (!fault && step.in2) fault = view(step.in2);
    if (!fault) fault = view(step.out);
    if (!fault) fault = act(step.act);
    if (!fault) fault = affine(step.affine);
    if (!fault) fault = quant(step.quant, false);
    if (!fault && step.strided) fault = strided(step.strided);
    if (fault) return fault;
    switch (step.op) {
      case SNP_CONV:
        return conv(step);
      case SNP_POOL:
        return there(step.pool) ? window(step.window) : "its pooling is missing or too short";
      case SNP_BINARY:
        return !step.in2                 ? "its second operand is missing"
               : step.binary > SNP_PRELU ? "its operation is unknown"
                                         : nullptr;
      case SNP_MAT_MUL:
        return step.in2 ? strided(step.strided) : "its second operand is missing";
      case SNP_SOFTMAX:
      case SNP_REDUCE_MEAN:
      case SNP_STRIDED_COPY:
        return strided(step.strided);
      case SNP_ATTENTION:
        return attention(step.attention);
      default:
        return nullptr;
    }
  }

  Fault port(const snp_port& port) const {
    if (const Fault fault = view(port.view)) return fault;
    const snp_view& v = *port.view;
    if (port.rank < 0 || port.rank > SNP_MAX_DIMS) return "its rank is not 0 to 8";
    uint64_t elements = 1;
    for (int32_t d = 0; d < port.rank; ++d) {
      if (port.dims[d] < 1 || elements > kMostBytes / 8 / static_cast<uint64_t>(port.dims[d]))
        return "its shape is not valid";
      elements *= static_cast<uint64_t>(port.dims[d]);
    }
    const uint64_t pixels = static_cast<uint64_t>(v.n) * static_cast<uint64_t>(v.h) * static_cast<uint64_t>(v.w);
    if (pixels > kMostBytes / static_cast<uint64_t>(v.c) || pixels * static_cast<uint64_t>(v.c) != elements)
      return "its shape and its view differ in size";
    return elements * type_bytes(v.type) == port.bytes ? nullptr : "its bytes do not follow from its shape";
  }

 private:
  bool constant(int32_t index) const { return index >= 0 && static_cast<uint32_t>(index) < plan_.constant_count; }

  const snp_plan& plan_;
};

Outcome fault_at(const char* what, uint32_t index, const char* name, Fault fault) {
  return failure(SNP_INVALID_ARGUMENT, std::string("the plan's ") + what + " " + std::to_string(index) + " (" +
                                           (name ? name : "") + ") is not valid: " + fault);
}

}  // namespace

Outcome check_plan(const snp_plan* plan) {
  if (!there(plan)) return failure(SNP_INVALID_ARGUMENT, "the plan is missing or too short for interface 1.0");
  if (!there(plan->steps, plan->step_count) || !there(plan->constants, plan->constant_count) ||
      !there(plan->inputs, plan->input_count) || !there(plan->outputs, plan->output_count))
    return failure(SNP_INVALID_ARGUMENT, "the plan's steps, constants or ports are missing or too short");
  const Checker checker(*plan);
  for (uint32_t i = 0; i < plan->constant_count; ++i) {
    const snp_constant& constant = *SNP_AT(snp_constant, plan->constants, i);
    if (type_bytes(constant.type) == 0 || constant.elements > kMostBytes / 8 ||
        (constant.elements != 0 && !constant.data))
      return fault_at("constant", i, nullptr, "its type is unknown, or it has no data");
  }
  for (uint32_t i = 0; i < plan->step_count; ++i) {
    const snp_step& step = *SNP_AT(snp_step, plan->steps, i);
    if (const Fault fault = checker.step(step)) return fault_at("step", i, step.name, fault);
  }
  for (const bool input : {true, false}) {
    const snp_port* ports = input ? plan->inputs : plan->outputs;
    for (uint32_t i = 0; i < (input ? plan->input_count : plan->output_count); ++i) {
      const snp_port& port = *SNP_AT(snp_port, ports, i);
      if (const Fault fault = checker.port(port)) return fault_at(input ? "input" : "output", i, port.name, fault);
    }
  }
  return {};
}

}  // namespace sparsenet::gpu
