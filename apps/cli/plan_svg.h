// Draws a memory plan.
#pragma once

#include <sparsenet/session.h>

#include <string>
#include <vector>

namespace sparsenet::cli {

// An SVG document: steps on the x axis, addresses on the y axis, one box per buffer with its name, size and lifetime as
// a tooltip; lines for the arena's size and the lower bound, and a curve of the bytes that are live at each step.
std::string draw_plan(const std::string& title, const std::vector<BufferInfo>& buffers,
                      const std::vector<StepInfo>& steps, const MemoryReport& memory);

}  // namespace sparsenet::cli
