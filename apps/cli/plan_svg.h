// A memory plan as a drawing.
#pragma once

#include <sparsenet/session.h>

#include <string>
#include <vector>

namespace sparsenet::cli {

// An SVG document: steps across, addresses up, one box a buffer with its name, size and life as a tooltip; lines for
// the arena's size and the lower bound, and a curve of the bytes that are live at each step.
std::string draw_plan(const std::string& title, const std::vector<BufferInfo>& buffers,
                      const std::vector<StepInfo>& steps, const MemoryReport& memory);

}  // namespace sparsenet::cli
