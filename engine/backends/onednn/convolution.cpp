// Convolutions (also grouped, depthwise and fully connected ones) as oneDNN primitives over plain NHWC memory.
//
// If a layout does not suit it, oneDNN silently falls back to a reference implementation, which is hundreds of times
// slower. So every primitive descriptor is examined, and a step that would get that implementation goes to the portable
// kernels. Sources in several channel ranges or with an affine in front are gathered into scratch first.
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>

#include "backends/onednn/common.h"
#include "backends/onednn/onednn_backend.h"

namespace sparsenet::onednn {
namespace {

using dnnl::memory;
using rt::Step;

bool needs_gather(const Step& s) {
  return s.affine.scale || !is_dense(s.in);
}

size_t gather_bytes(const Step& s) {
  if (!needs_gather(s)) return 0;
  return round_up(static_cast<size_t>(s.in.n) * static_cast<size_t>(s.in.h) * static_cast<size_t>(s.in.w) *
                  static_cast<size_t>(s.in.c) * sizeof(float));
}

memory::dims weight_dims(const Step& s) {
  if (s.conv.groups == 1) return {s.out.c, s.in.c, s.window.kernel_h, s.window.kernel_w};
  return {s.conv.groups, s.out.c / s.conv.groups, s.in.c / s.conv.groups, s.window.kernel_h, s.window.kernel_w};
}

// The primitive descriptor of a step, or null if oneDNN has none that is worth running.
std::unique_ptr<dnnl::convolution_forward::primitive_desc> describe(const Step& s) {
  if (s.op != rt::StepOp::kConv || !is_dense(s.out)) return nullptr;
  // Version 3.7.2 computes wrong sums in its AVX-512 kernel for one input channel and one output column with a stride.
  if (s.conv.groups == 1 && s.in.c == 1 && s.out.w == 1 && s.window.stride_w > 1) return nullptr;
  if (s.in2.segment_count > 1 || (s.in2.segment_count == 1 && !is_dense(s.in2))) return nullptr;
  // Version 2.6.3 crashes in its AVX-512 kernels where a window lies in the padding and the activation is a clip.
  if (!windows_fit(s.in.h, s.out.h, s.window.kernel_h, s.window.dilation_h, s.window.stride_h, s.window.pad_top) ||
      !windows_fit(s.in.w, s.out.w, s.window.kernel_w, s.window.dilation_w, s.window.stride_w, s.window.pad_left)) {
    return nullptr;
  }
  try {
    dnnl::post_ops ops;
    if (s.in2.segment_count == 1) ops.append_sum(1.f);
    if (!append(s.act, &ops)) return nullptr;
    dnnl::primitive_attr attr;
    attr.set_post_ops(ops);
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const memory::desc weights(weight_dims(s), memory::data_type::f32, memory::format_tag::any);
    const memory::desc bias({s.out.c}, memory::data_type::f32, memory::format_tag::x);
    auto pd = std::make_unique<dnnl::convolution_forward::primitive_desc>(make_convolution(
        cpu(), image(s.in), weights, bias, image(s.out), {s.window.stride_h, s.window.stride_w},
        {s.window.dilation_h - 1, s.window.dilation_w - 1}, {s.window.pad_top, s.window.pad_left},
        {pad_end(s.in.h, s.out.h, s.window.kernel_h, s.window.dilation_h, s.window.stride_h, s.window.pad_top),
         pad_end(s.in.w, s.out.w, s.window.kernel_w, s.window.dilation_w, s.window.stride_w, s.window.pad_left)},
        attr));
    const char* implementation = pd->impl_info_str();
    if (is_reference(implementation)) return nullptr;
    // The SSE 4.1 depthwise kernels read the residual as if it were aligned, and crash if it is not.
    if (s.in2.segment_count == 1 && s.out.c % 4 != 0 && std::strstr(implementation, "sse41")) return nullptr;
    return pd;
  } catch (const dnnl::error&) {
    return nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// Everything that a run needs. It is made in prepare() and lives on the heap.
struct Convolution {
  dnnl::convolution_forward primitive;
  dnnl::stream stream;
  std::unordered_map<int, memory> arguments;
  memory scratchpad, source;  // the same memory objects as among the arguments
  std::unique_ptr<rt::GatherRange[]> ranges;
  rt::Gather source_gather{}, residual_gather{};
  int64_t source_pixels = 0, residual_pixels = 0;
  rt::GatherRange residual{};  // copied to the output's memory unless it is there already
  bool gathers = false, copies_residual = false;
  size_t gather_size = 0;
  void* scratch = nullptr;  // what the memory objects point to
  float* out = nullptr;
};

struct State {
  Convolution* convolution;
};

bool supports(const Step& step) {
  return describe(step) != nullptr;
}

void query(const Step& step, rt::KernelNeeds* needs) {
  *needs = {sizeof(State), 0, 0, 0, 1};
  needs->weight_bytes = UINT64_MAX;  // stays if there is no memory to find out
  try {
    const auto pd = describe(step);
    if (!pd) return;
    needs->scratch_bytes = gather_bytes(step) + round_up(pd->scratchpad_desc().get_size());
    needs->weight_bytes =
        round_up(pd->weights_desc().get_size()) + round_up(static_cast<size_t>(step.out.c) * sizeof(float));
  } catch (const dnnl::error&) {
  } catch (const std::bad_alloc&) {
  }
}

// Packs on the calling thread alone, because waking the others for each small tensor takes longer.
void pack_weights(const Step& step, const memory& packed, dnnl::stream* stream) {
  const OneThread one_thread;
  const memory::desc given(weight_dims(step), memory::data_type::f32,
                           step.conv.groups == 1 ? memory::format_tag::oihw : memory::format_tag::goihw);
  memory from(given, cpu(), const_cast<void*>(step.conv.weight.data));  // only read
  memory to = packed;
  dnnl::reorder(from, to).execute(*stream, from, to);
  stream->wait();
}

const char* prepare(const Step& step, const rt::Place& place) {
  const auto pd = describe(step);
  if (!pd) return rt::kNoMemory;  // supports() has accepted the step, so nothing else can be wrong
  try {
    auto c = std::make_unique<Convolution>();
    c->primitive = dnnl::convolution_forward(*pd);
    c->stream = dnnl::stream(cpu());

    const memory packed(pd->weights_desc(), cpu(), place.weights);
    pack_weights(step, packed, &c->stream);
    float* bias = place.weights + round_up(pd->weights_desc().get_size()) / sizeof(float);
    if (step.conv.bias) std::memcpy(bias, step.conv.bias.data, static_cast<size_t>(step.out.c) * sizeof(float));

    const int32_t count = step.in.segment_count;
    c->ranges = std::make_unique<rt::GatherRange[]>(static_cast<size_t>(count));
    for (int32_t i = 0; i < count; ++i) {
      const rt::Segment& segment = step.in.segments[i];
      c->ranges[static_cast<size_t>(i)] = {resolve(segment, place.arena), segment.channels, segment.pixel_stride};
    }
    c->gathers = needs_gather(step);
    c->gather_size = gather_bytes(step);
    c->source_gather = {c->ranges.get(),         count,           step.in.c,       step.affine.scale.f32(),
                        step.affine.shift.f32(), step.affine.low, step.affine.high};
    c->source_pixels = int64_t{step.in.n} * step.in.h * step.in.w;

    c->out = reinterpret_cast<float*>(place.arena + step.out.segments[0].offset);
    if (step.in2.segment_count == 1) {
      c->residual = {resolve(step.in2.segments[0], place.arena), step.out.c, step.out.c};
      c->copies_residual = c->residual.base != c->out;
      c->residual_gather = {&c->residual, 1, step.out.c, nullptr, nullptr, 0, 0};
      c->residual_pixels = int64_t{step.out.n} * step.out.h * step.out.w;
    }
    c->source = memory(image(step.in), cpu(), c->gathers ? nullptr : const_cast<float*>(c->ranges[0].base));
    c->scratchpad = memory(pd->scratchpad_desc(), cpu(), nullptr);
    c->arguments = {{DNNL_ARG_SRC, c->source},
                    {DNNL_ARG_WEIGHTS, packed},
                    {DNNL_ARG_BIAS, memory(pd->bias_desc(), cpu(), bias)},
                    {DNNL_ARG_DST, memory(image(step.out), cpu(), c->out)},
                    {DNNL_ARG_SCRATCHPAD, c->scratchpad}};
    static_cast<State*>(place.state)->convolution = c.release();
    return nullptr;
  } catch (const dnnl::error& error) {
    return error.status == dnnl_out_of_memory ? rt::kNoMemory : "oneDNN could not make the convolution";
  } catch (const std::bad_alloc&) {
    return rt::kNoMemory;
  }
}

void run(const void* state, int32_t, void* scratch) {
  Convolution& c = *static_cast<const State*>(state)->convolution;
  try {
    if (c.scratch != scratch) {  // the first run; a session's scratch does not move
      if (c.gathers) c.source.set_data_handle(scratch);
      c.scratchpad.set_data_handle(static_cast<uint8_t*>(scratch) + c.gather_size);
      c.scratch = scratch;
    }
    if (c.gathers) gather(c.source_gather, c.source_pixels, static_cast<float*>(scratch));
    if (c.copies_residual) gather(c.residual_gather, c.residual_pixels, c.out);
    c.primitive.execute(c.stream, c.arguments);
    c.stream.wait();
  } catch (const dnnl::error& error) {
    onednn_note_failure(error.status == dnnl_out_of_memory);
  } catch (...) {
    onednn_note_failure(true);  // all that can still fail is allocating the primitive's list of arguments
  }
}

void destroy(void* state) {
  delete static_cast<State*>(state)->convolution;
}

}  // namespace

std::string convolution_implementation(const Step& step) {
  const auto pd = describe(step);
  return pd ? pd->impl_info_str() : "";
}

const rt::Kernel kConvolution = {
    .name = "conv2d_f32_onednn",
    .backend = "onednn",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .destroy = destroy,
    .own_threads = true,
    .copies_parameters = true,
};

}  // namespace sparsenet::onednn
