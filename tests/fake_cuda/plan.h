// A small plan, written by hand: a convolution with ReLU and the mean over all pixels, with what it computes.
#pragma once

#include <sparsenet/plugin.h>

#include <cstdint>
#include <vector>

namespace fake {

class SmallPlan {
 public:
  static constexpr int kSize = 9, kIn = 3, kOut = 20, kKernel = 3;

  SmallPlan();
  SmallPlan(const SmallPlan&) = delete;
  SmallPlan& operator=(const SmallPlan&) = delete;

  const snp_plan& plan() const { return plan_; }
  static std::vector<float> input(int seed);
  std::vector<float> output(const std::vector<float>& input) const;

 private:
  std::vector<float> constants_;
  snp_segment segments_[3] = {};
  snp_view views_[3] = {};
  snp_parameter weight_{}, bias_{};
  snp_act relu_{};
  snp_window window_{};
  snp_conv conv_{};
  snp_step steps_[2] = {};
  snp_constant constant_{};
  snp_port ports_[2] = {};
  snp_plan plan_{};
};

}  // namespace fake
