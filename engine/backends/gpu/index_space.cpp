#include "backends/gpu/index_space.h"

#include <algorithm>
#include <limits>

namespace sparsenet::gpu {
namespace {

constexpr int64_t kMostIndex = std::numeric_limits<int32_t>::max();
constexpr char kTooLarge[] = "its index space has sizes, strides or offsets that do not fit 31 bits";

void merge(std::vector<IndexSpace::Dim>* dims) {
  size_t kept = 0;
  for (size_t i = 0; i < dims->size(); ++i) {
    const IndexSpace::Dim next = (*dims)[i];
    if (kept > 0) {
      IndexSpace::Dim& last = (*dims)[kept - 1];
      const auto follows = [&](uint32_t slow, uint32_t fast) { return slow == uint64_t{fast} * last.size; };
      if (follows(next.out, last.out) && follows(next.in, last.in) && follows(next.in2, last.in2)) {
        last.size *= next.size;
        continue;
      }
    }
    (*dims)[kept++] = next;
  }
  dims->resize(kept);
}

// The number of elements from an operand's start to the last one that the step reads or writes.
uint64_t reach(const snp_strided& strided, const int64_t* strides, int64_t start) {
  uint64_t last = static_cast<uint64_t>(start);
  for (int d = 0; d < strided.rank; ++d)
    last += static_cast<uint64_t>(strided.dims[d] - 1) * static_cast<uint64_t>(strides[d]);
  return last + 1;
}

bool fits(const snp_strided& strided, const int64_t* strides, int64_t start) {
  if (start < 0 || start > kMostIndex) return false;
  for (int d = 0; d < strided.rank; ++d)
    if (strides[d] < 0 || strides[d] > kMostIndex) return false;
  return reach(strided, strides, start) <= static_cast<uint64_t>(kMostIndex);
}

Operand operand_of(const snp_view& view, const snp_strided& strided, const int64_t* strides, int64_t start,
                   Builder& builder) {
  const snp_segment& segment = view.segments[0];
  Operand operand{};
  uint64_t at = segment.offset / 4;
  if (segment.constant >= 0) {
    snp_parameter parameter{};
    parameter.struct_size = sizeof parameter;
    parameter.constant = segment.constant;
    parameter.offset = segment.offset;
    at = builder.weight_elements(parameter, reach(strided, strides, start)) / builder.element_bytes();
    operand.in_weights = 1;
  }
  operand.at = static_cast<uint32_t>(at + static_cast<uint64_t>(start));
  return operand;
}

}  // namespace

IndexSpace::IndexSpace(const snp_step& step, int first, int last) {
  const snp_strided& s = *step.strided;
  for (int d = last - 1; d >= first; --d) {
    if (s.dims[d] == 1) continue;
    dims_.push_back({static_cast<uint32_t>(s.dims[d]), static_cast<uint32_t>(s.out_strides[d]),
                     static_cast<uint32_t>(s.in_strides[d]), step.in2 ? static_cast<uint32_t>(s.in2_strides[d]) : 0});
  }
}

void IndexSpace::sort_by_out() {
  std::stable_sort(dims_.begin(), dims_.end(), [](const Dim& a, const Dim& b) { return a.out < b.out; });
}

void IndexSpace::sort_by_in() {
  std::stable_sort(dims_.begin(), dims_.end(), [](const Dim& a, const Dim& b) { return a.in < b.in; });
}

uint32_t IndexSpace::elements() const {
  uint32_t product = 1;
  for (const Dim& dim : dims_) product *= dim.size;
  return product;
}

Space IndexSpace::arg() const {
  std::vector<Dim> dims = dims_;
  merge(&dims);
  Space space{};
  space.rank = static_cast<int>(dims.size());
  for (size_t d = 0; d < dims.size(); ++d) {
    space.dims[d] = dims[d].size;
    space.out[d] = dims[d].out;
    space.in[d] = dims[d].in;
    space.in2[d] = dims[d].in2;
  }
  return space;
}

const char* check_strided(const snp_step& step) {
  if (!step.strided) return "it has no index space";
  const snp_strided& s = *step.strided;
  if (s.rank < 0 || s.rank > SNP_MAX_DIMS) return "its index space has more than 8 dimensions";
  if (s.reduced_from < 0 || s.reduced_from > s.rank) return "its index space is reduced from a dimension that it lacks";
  if (!Builder::is_plain(*step.out)) return "its index space has an output in several pieces";
  if (step.in->segment_count != 1 || (step.in2 && step.in2->segment_count != 1))
    return "its index space has an operand in several pieces";
  int64_t elements = 1;
  for (int d = 0; d < s.rank; ++d) {
    if (s.dims[d] < 1 || s.dims[d] > kMostIndex / elements) return kTooLarge;
    elements *= s.dims[d];
  }
  const bool small = fits(s, s.out_strides, s.out_start) && fits(s, s.in_strides, s.in_start) &&
                     (!step.in2 || fits(s, s.in2_strides, s.in2_start));
  return small ? nullptr : kTooLarge;
}

Operand in_of(const snp_step& step, Builder& builder) {
  return operand_of(*step.in, *step.strided, step.strided->in_strides, step.strided->in_start, builder);
}

Operand in2_of(const snp_step& step, Builder& builder) {
  return operand_of(*step.in2, *step.strided, step.strided->in2_strides, step.strided->in2_start, builder);
}

uint32_t out_of(const snp_step& step) {
  return static_cast<uint32_t>(step.out->segments[0].offset / 4 + static_cast<uint64_t>(step.strided->out_start));
}

bool in_fours(const snp_view& view) {
  for (uint32_t i = 0; i < view.segment_count; ++i) {
    const snp_segment& segment = *SNP_AT(snp_segment, view.segments, i);
    // The block of weights has every constant range at a multiple of four elements.
    if (segment.channels % 4 != 0 || segment.pixel_stride % 4 != 0) return false;
    if (segment.constant < 0 && segment.offset % 16 != 0) return false;
  }
  return true;
}

AffineArg affine_of(const snp_step& step, Builder& builder) {
  AffineArg arg{};
  if (!step.affine || !step.affine->scale || !step.affine->shift) return arg;
  const auto channels = static_cast<uint64_t>(step.in->c);
  arg.on = 1;
  arg.low = step.affine->low;
  arg.high = step.affine->high;
  arg.scale = builder.weight_floats(builder.floats_of(*step.affine->scale, channels));
  arg.shift = builder.weight_floats(builder.floats_of(*step.affine->shift, channels));
  return arg;
}

int lanes_for(uint64_t rows, uint64_t terms, const Traits& device) {
  const uint64_t wanted = uint64_t{1024} * std::max<uint32_t>(device.units, 1);
  int lanes = 1;
  while (lanes < 256 && static_cast<uint64_t>(lanes) < terms &&
         (static_cast<uint64_t>(lanes) * 8 <= terms || static_cast<uint64_t>(lanes) * rows < wanted))
    lanes *= 2;
  return lanes;
}

}  // namespace sparsenet::gpu
