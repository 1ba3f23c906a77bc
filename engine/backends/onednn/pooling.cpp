// Max and average pooling as oneDNN primitives, if input and output are dense, with no affine in front and no
// activation behind.
#include <cmath>
#include <memory>
#include <new>
#include <unordered_map>

#include "backends/onednn/common.h"
#include "backends/onednn/onednn_backend.h"

namespace sparsenet::onednn {
namespace {

using dnnl::memory;
using rt::Step;

bool is_plain(const rt::Act& act) {
  return act.kind == rt::Act::kClamp && act.low == -INFINITY && act.high == INFINITY;
}

// Whether windows reach beyond the padding. oneDNN would count what lies there as padding too; ONNX does not.
bool sticks_out(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t pad_begin, int32_t pad_behind) {
  return int64_t{out - 1} * stride + kernel > int64_t{in} + pad_begin + pad_behind;
}

std::unique_ptr<dnnl::pooling_forward::primitive_desc> describe(const Step& s) {
  if (s.op != rt::StepOp::kPool || s.affine.scale || !is_plain(s.act) || !is_dense(s.in) || !is_dense(s.out)) {
    return nullptr;
  }
  if (!windows_fit(s.in.h, s.out.h, s.window.kernel_h, 1, s.window.stride_h, s.window.pad_top) ||
      !windows_fit(s.in.w, s.out.w, s.window.kernel_w, 1, s.window.stride_w, s.window.pad_left)) {
    return nullptr;
  }
  auto algorithm = dnnl::algorithm::pooling_max;
  if (!s.pool.max) {
    algorithm = dnnl::algorithm::pooling_avg_exclude_padding;
    if (s.pool.count_include_pad) {
      algorithm = dnnl::algorithm::pooling_avg_include_padding;
      if (sticks_out(s.in.h, s.out.h, s.window.kernel_h, s.window.stride_h, s.window.pad_top, s.window.pad_bottom) ||
          sticks_out(s.in.w, s.out.w, s.window.kernel_w, s.window.stride_w, s.window.pad_left, s.window.pad_right)) {
        return nullptr;
      }
    }
  }
  try {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    auto pd = std::make_unique<dnnl::pooling_forward::primitive_desc>(
        make_pooling(cpu(), algorithm, image(s.in), image(s.out), {s.window.stride_h, s.window.stride_w},
                     {s.window.kernel_h, s.window.kernel_w}, {s.window.pad_top, s.window.pad_left},
                     {pad_end(s.in.h, s.out.h, s.window.kernel_h, 1, s.window.stride_h, s.window.pad_top),
                      pad_end(s.in.w, s.out.w, s.window.kernel_w, 1, s.window.stride_w, s.window.pad_left)},
                     attr));
    if (is_reference(pd->impl_info_str())) return nullptr;
    return pd;
  } catch (const dnnl::error&) {
    return nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

struct Pooling {
  dnnl::pooling_forward primitive;
  dnnl::stream stream;
  std::unordered_map<int, memory> arguments;
  memory scratchpad;        // the same memory object as among the arguments
  void* scratch = nullptr;  // what it points to
};

struct State {
  Pooling* pooling;
};

bool supports(const Step& step) {
  return describe(step) != nullptr;
}

void query(const Step& step, rt::KernelNeeds* needs) {
  *needs = {sizeof(State), UINT64_MAX, 0, 0, 1};  // stays if there is no memory to find out
  try {
    if (const auto pd = describe(step)) *needs = {sizeof(State), 0, round_up(pd->scratchpad_desc().get_size()), 0, 1};
  } catch (const dnnl::error&) {
  } catch (const std::bad_alloc&) {
  }
}

const char* prepare(const Step& step, const rt::Place& place) {
  const auto pd = describe(step);
  if (!pd) return rt::kNoMemory;  // supports() has accepted the step, so nothing else can be wrong
  try {
    auto p = std::make_unique<Pooling>();
    p->primitive = dnnl::pooling_forward(*pd);
    p->stream = dnnl::stream(cpu());
    p->scratchpad = memory(pd->scratchpad_desc(), cpu(), nullptr);
    p->arguments = {{DNNL_ARG_SRC, memory(image(step.in), cpu(), place.arena + step.in.segments[0].offset)},
                    {DNNL_ARG_DST, memory(image(step.out), cpu(), place.arena + step.out.segments[0].offset)},
                    {DNNL_ARG_SCRATCHPAD, p->scratchpad}};
    static_cast<State*>(place.state)->pooling = p.release();
    return nullptr;
  } catch (const dnnl::error& error) {
    return error.status == dnnl_out_of_memory ? rt::kNoMemory : "oneDNN could not make the pooling primitive";
  } catch (const std::bad_alloc&) {
    return rt::kNoMemory;
  }
}

void run(const void* state, int32_t, void* scratch) {
  Pooling& p = *static_cast<const State*>(state)->pooling;
  try {
    if (p.scratch != scratch) {  // the first run; a session's scratch does not move
      p.scratchpad.set_data_handle(scratch);
      p.scratch = scratch;
    }
    p.primitive.execute(p.stream, p.arguments);
    p.stream.wait();
  } catch (const dnnl::error& error) {
    onednn_note_failure(error.status == dnnl_out_of_memory);
  } catch (...) {
    onednn_note_failure(true);
  }
}

void destroy(void* state) {
  delete static_cast<State*>(state)->pooling;
}

}  // namespace

const rt::Kernel kPooling = {
    .name = "pool2d_f32_onednn",
    .backend = "onednn",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .destroy = destroy,
    .own_threads = true,
};

}  // namespace sparsenet::onednn
