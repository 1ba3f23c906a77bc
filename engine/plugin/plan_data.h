// PlanData: a plan, or a range of its steps, in the form that plugins get (sparsenet/plugin.h).
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/plugin.h>
#include <sparsenet/status.h>

#include <deque>
#include <map>
#include <vector>

#include "plan/plan.h"

namespace sparsenet {

// Which steps, and what goes in and out of them.
struct PlanRange {
  size_t begin = 0, end = 0;
  std::vector<PlanPort> inputs, outputs;
};

// All steps of a plan, with its own inputs and outputs.
PlanRange whole_range(const Plan& plan);

class PlanData {
 public:
  PlanData() = default;
  PlanData(PlanData&&) = default;
  PlanData& operator=(PlanData&&) = default;
  PlanData(const PlanData&) = delete;
  PlanData& operator=(const PlanData&) = delete;

  // `constants` must have all that the steps point to. They, `plan` and `range` must outlive the object. `widen`:
  // parameters of float16 become float32, for plugins that do not read float16. Errors: kUnsupported (a step that only
  // training has, which it names), kInternal (a pointer that is in no constant).
  static Result<PlanData> make(const Plan& plan, const std::vector<Tensor>& constants, const PlanRange& range,
                               bool widen);

  const snp_plan& plan() const { return plan_; }

 private:
  struct Place {
    int32_t constant = -1;
    uint64_t offset = 0;
  };

  Result<Place> find(const void* at) const;
  Status add_constants(const std::vector<Tensor>& constants, bool widen);
  Status add_step(const rt::Step& step, int64_t macs);
  Status view(const rt::View& view, const snp_view** out);
  Status parameter(const rt::Parameter& parameter, const snp_parameter** out);
  const snp_act* act(const rt::Act& act);
  const snp_quant* quant(const rt::QuantParams* params);
  Status attention(const rt::AttentionParams& params, const snp_attention** out);
  Status add_port(const PlanPort& port, std::vector<snp_port>* ports);

  snp_plan plan_{};
  std::vector<snp_step> steps_;
  std::vector<snp_constant> constants_;
  std::vector<snp_port> inputs_, outputs_;

  // Constants by the place where they begin; of those that begin at the same place, the longest.
  struct Known {
    size_t index;
    size_t bytes;
    bool widened;
  };
  std::map<const uint8_t*, Known> known_;
  size_t longest_ = 0;  // bytes of the longest constant

  // What the structures point to. Elements of a deque stay where they are, also when it is moved.
  std::deque<std::vector<float>> widened_;
  std::deque<std::vector<snp_segment>> segments_;
  std::deque<snp_view> views_;
  std::deque<snp_parameter> parameters_;
  std::deque<snp_act> acts_;
  std::deque<snp_affine> affines_;
  std::deque<snp_window> windows_;
  std::deque<snp_conv> convs_;
  std::deque<snp_pool> pools_;
  std::deque<snp_strided> strided_;
  std::deque<snp_quant> quants_;
  std::deque<snp_attention> attentions_;
};

}  // namespace sparsenet
