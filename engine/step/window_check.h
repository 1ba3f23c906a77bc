// The check of a convolution's window, which several kinds of steps have. Internal to step/.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

constexpr int32_t kMaxWindow = 1 << 12;  // the same limit as for graphs

// Checks the window from `in` to `out`. There is one weight for each output channel, input channel of its group and
// tap; *weights receives their number.
const char* check_window(const Step& s, const View& in, const View& out, int64_t* weights);

}  // namespace sparsenet::rt
