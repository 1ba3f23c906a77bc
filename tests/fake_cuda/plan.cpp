#include "tests/fake_cuda/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fake {
namespace {

constexpr int kPixels = SmallPlan::kSize * SmallPlan::kSize;
constexpr size_t kWeights = size_t{SmallPlan::kOut} * SmallPlan::kIn * SmallPlan::kKernel * SmallPlan::kKernel;

template <class T>
T sized() {
  T object{};
  object.struct_size = sizeof(T);
  return object;
}

float wave(int i, float step) {
  return std::sin(static_cast<float>(i) * step);
}

}  // namespace

SmallPlan::SmallPlan() {
  for (size_t i = 0; i < kWeights + kOut; ++i) constants_.push_back(wave(static_cast<int>(i), 0.7f) * 0.3f);

  const int sizes[3] = {kSize, kSize, 1}, channels[3] = {kIn, kOut, kOut};
  uint64_t offset = 0;
  for (int i = 0; i < 3; ++i) {
    segments_[i] = sized<snp_segment>();
    segments_[i].constant = -1;
    segments_[i].offset = offset;
    segments_[i].channels = segments_[i].pixel_stride = channels[i];
    views_[i] = sized<snp_view>();
    views_[i].type = SNP_FLOAT32;
    views_[i].n = 1;
    views_[i].h = views_[i].w = sizes[i];
    views_[i].c = channels[i];
    views_[i].segment_count = 1;
    views_[i].segments = &segments_[i];
    offset += sizeof(float) * static_cast<uint64_t>(sizes[i] * sizes[i] * channels[i] + 15) / 16 * 16;
  }

  relu_ = sized<snp_act>();
  relu_.kind = SNP_CLAMP;
  relu_.high = std::numeric_limits<float>::infinity();
  window_ = sized<snp_window>();
  window_.kernel_h = window_.kernel_w = kKernel;
  window_.stride_h = window_.stride_w = window_.dilation_h = window_.dilation_w = 1;
  window_.pad_top = window_.pad_left = window_.pad_bottom = window_.pad_right = 1;
  weight_ = sized<snp_parameter>();
  bias_ = sized<snp_parameter>();
  bias_.offset = kWeights * sizeof(float);
  conv_ = sized<snp_conv>();
  conv_.groups = 1;
  conv_.weight = &weight_;
  conv_.bias = &bias_;

  steps_[0] = sized<snp_step>();
  steps_[0].op = SNP_CONV;
  steps_[0].name = "convolution";
  steps_[0].in = &views_[0];
  steps_[0].out = &views_[1];
  steps_[0].act = &relu_;
  steps_[0].window = &window_;
  steps_[0].conv = &conv_;
  steps_[0].macs = kWeights * kPixels;
  steps_[1] = sized<snp_step>();
  steps_[1].op = SNP_GLOBAL_POOL;
  steps_[1].name = "mean";
  steps_[1].in = &views_[1];
  steps_[1].out = &views_[2];

  constant_ = sized<snp_constant>();
  constant_.type = SNP_FLOAT32;
  constant_.elements = constants_.size();
  constant_.data = constants_.data();
  for (int i = 0; i < 2; ++i) {
    const snp_view& view = views_[2 * i];
    ports_[i] = sized<snp_port>();
    ports_[i].rank = 4;
    ports_[i].dims[0] = view.n;
    ports_[i].dims[1] = view.c;
    ports_[i].dims[2] = view.h;
    ports_[i].dims[3] = view.w;
    ports_[i].name = i == 0 ? "image" : "means";
    ports_[i].view = &view;
    ports_[i].bytes = sizeof(float) * static_cast<uint64_t>(view.c * view.h * view.w);
  }
  plan_ = sized<snp_plan>();
  plan_.step_count = 2;
  plan_.constant_count = plan_.input_count = plan_.output_count = 1;
  plan_.arena_bytes = offset;
  plan_.steps = steps_;
  plan_.constants = &constant_;
  plan_.inputs = &ports_[0];
  plan_.outputs = &ports_[1];
}

std::vector<float> SmallPlan::input(int seed) {
  std::vector<float> values(size_t{kIn} * kPixels);
  for (size_t i = 0; i < values.size(); ++i) values[i] = wave(static_cast<int>(i) + 31 * seed, 0.37f);
  return values;
}

std::vector<float> SmallPlan::output(const std::vector<float>& input) const {
  std::vector<float> means;
  for (int out = 0; out < kOut; ++out) {
    float total = 0;
    for (int pixel = 0; pixel < kPixels; ++pixel) {
      float sum = constants_[kWeights + static_cast<size_t>(out)];
      for (int tap = 0; tap < kIn * kKernel * kKernel; ++tap) {
        const int y = pixel / kSize + tap / kKernel % kKernel - 1, x = pixel % kSize + tap % kKernel - 1;
        if (y < 0 || x < 0 || y >= kSize || x >= kSize) continue;
        const int channel = tap / (kKernel * kKernel);
        sum += constants_[static_cast<size_t>(out * kIn * kKernel * kKernel + tap)] *
               input[static_cast<size_t>((channel * kSize + y) * kSize + x)];
      }
      total += std::max(sum, 0.f);
    }
    means.push_back(total / kPixels);
  }
  return means;
}

}  // namespace fake
