// What stored steps of each kind must fulfil beyond what check_step() checks of all steps: the functions that rows of
// step_kinds.h name, in step_check.cpp and train_check.cpp.
#pragma once

#include "step/step_check.h"

namespace sparsenet::rt {

// Whether the program has the formula of an activation, and what is said if it has not.
bool is_linked(const Act& act);
extern const char kNotLinked[];

const char* check_conv(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_pool(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_global_pool(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_same_size(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_binary(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_strided(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_reduced(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_attention(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_mat_mul(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_layer_norm(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_between_types(const Step& step, const StepLinks& links, const PlanRoom& room);

// Training.
const char* check_conv_grad_weight(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_accumulate(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_cross_entropy(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_square_sum(const Step& step, const StepLinks& links, const PlanRoom& room);
const char* check_update_sgd(const Step& step, const StepLinks& links, const PlanRoom& room);

const char* check_nothing(const Step& step, const StepLinks& links, const PlanRoom& room);  // refuses all

}  // namespace sparsenet::rt
