#include "cli/plan_svg.h"

#include <algorithm>
#include <cmath>

#include "cli/output.h"
#include "cli/svg.h"

namespace sparsenet::cli {
namespace {

using svg::escaped;
using svg::line;
using svg::number;
using svg::round_step;
using svg::text_at;

constexpr double kLeft = 90, kTop = 70, kWidth = 1180, kHeight = 560, kRight = 30, kBottom = 70;

// Fill colours that are distinguishable with most kinds of colour vision, and light enough for dark text.
constexpr const char* kFills[] = {"#8ecae6", "#ffb703", "#a7c957", "#f4a6b8",
                                  "#c8b6ff", "#f2cc8f", "#90dbc4", "#d4d4d4"};

class Drawing {
 public:
  Drawing(const std::vector<BufferInfo>& buffers, const std::vector<StepInfo>& steps, const MemoryReport& memory)
      : buffers_(buffers), steps_(steps), memory_(memory) {
    int last = static_cast<int>(steps.size()) - 1;
    size_t top = std::max(memory.arena_bytes, memory.lower_bound_bytes);
    for (const BufferInfo& buffer : buffers) {
      last = std::max(last, buffer.last_step);
      first_ = std::min(first_, buffer.first_step);
      top = std::max(top, buffer.offset + buffer.bytes);
    }
    end_ = std::max(last + 1, first_ + 1);
    top_ = std::max(1.0, static_cast<double>(top));
  }

  std::string axes() const {
    const bool mebibytes = top_ >= 4.0 * (1 << 20);
    const double unit = mebibytes ? 1 << 20 : 1 << 10;
    std::string svg;
    const double byte_step = round_step(top_ / unit, 10);
    for (double tick = 0; tick <= top_ / unit * 1.0001; tick += byte_step) {
      svg += line(kLeft, y(tick * unit), kLeft + kWidth, y(tick * unit), "class=\"grid\"");
      svg += text_at(kLeft - 8, y(tick * unit) + 4, "end", fixed(tick, byte_step < 1 ? 1 : 0));
    }
    const double steps = end_ - first_;
    const double step = std::max(1.0, round_step(steps, 16));
    for (double tick = std::ceil(first_ / step) * step; tick < end_; tick += step) {
      const double middle = (x(tick) + x(tick + 1)) / 2;
      svg += line(middle, kTop + kHeight, middle, kTop + kHeight + 5, "class=\"axis\"");
      svg += text_at(middle, kTop + kHeight + 20, "middle", fixed(tick, 0));
    }
    svg += line(kLeft, kTop, kLeft, kTop + kHeight, "class=\"axis\"");
    svg += line(kLeft, kTop + kHeight, kLeft + kWidth, kTop + kHeight, "class=\"axis\"");
    svg += text_at(kLeft + kWidth / 2, kTop + kHeight + 45, "middle", "step of the plan (order of execution)");
    svg += text_at(-(kTop + kHeight / 2), 24, "middle",
                   mebibytes ? "address in the arena, MiB" : "address in the arena, KiB", "transform=\"rotate(-90)\"");
    return svg;
  }

  std::string boxes() const {
    std::string svg;
    for (size_t i = 0; i < buffers_.size(); ++i) {
      const BufferInfo& b = buffers_[i];
      const double left = x(b.first_step), right = x(b.last_step + 1.0);
      const double high = y(static_cast<double>(b.offset + b.bytes)), low = y(static_cast<double>(b.offset));
      svg += "<g><title>" + escaped(b.name) + "\n" + bytes_text(b.bytes) + " at " +
             grouped(static_cast<int64_t>(b.offset)) + "\nsteps " + step_text(b.first_step) + " to " +
             step_text(b.last_step) + "</title><rect x=\"" + number(left) + "\" y=\"" + number(high) + "\" width=\"" +
             number(std::max(0.5, right - left)) + "\" height=\"" + number(std::max(0.5, low - high)) + "\" fill=\"" +
             kFills[i % std::size(kFills)] + "\" class=\"box\"/>";
      // The name if it fits: about 5.6 units per letter at this size.
      if (low - high > 13 && static_cast<double>(b.name.size()) * 5.6 < right - left - 6) {
        svg += text_at((left + right) / 2, (low + high) / 2 + 3.5, "middle", b.name, "class=\"name\"");
      }
      svg += "</g>\n";
    }
    return svg;
  }

  std::string lines() const {
    std::string svg;
    const auto arena = static_cast<double>(memory_.arena_bytes), bound = static_cast<double>(memory_.lower_bound_bytes);
    svg += line(kLeft, y(arena), kLeft + kWidth, y(arena), "class=\"arena\"");
    svg += line(kLeft, y(bound), kLeft + kWidth, y(bound), "class=\"bound\"");
    std::string points;
    for (int step = first_; step < end_; ++step) {
      size_t live = 0;
      for (const BufferInfo& b : buffers_) live += b.first_step <= step && step <= b.last_step ? b.bytes : 0;
      const std::string height = number(y(static_cast<double>(live)));
      points += number(x(step)) + "," + height + " " + number(x(step + 1.0)) + "," + height + " ";
    }
    return svg + "<polyline points=\"" + points + "\" class=\"live\"/>\n";
  }

  std::string legend() const {
    std::string svg;
    double at = kLeft;
    const auto entry = [&](const char* style, const std::string& text) {
      svg += line(at, 46, at + 28, 46, style);
      svg += text_at(at + 34, 50, "start", text);
      at += 34 + static_cast<double>(text.size()) * 6.6 + 28;
    };
    entry("class=\"arena\"", "arena " + bytes_text(memory_.arena_bytes));
    entry("class=\"bound\"", "lower bound " + bytes_text(memory_.lower_bound_bytes));
    entry("class=\"live\"", "bytes live at each step");
    return svg;
  }

 private:
  double x(double step) const { return kLeft + (step - first_) / (end_ - first_) * kWidth; }
  double y(double bytes) const { return kTop + kHeight - bytes / top_ * kHeight; }
  std::string step_text(int step) const {
    const bool known = step >= 0 && static_cast<size_t>(step) < steps_.size();
    return std::to_string(step) + (known ? " (" + escaped(steps_[static_cast<size_t>(step)].name) + ")" : "");
  }

  const std::vector<BufferInfo>& buffers_;
  const std::vector<StepInfo>& steps_;
  const MemoryReport& memory_;
  int first_ = 0, end_ = 1;
  double top_ = 1;
};

constexpr const char* kStyle = R"(<style>
text { font: 12px sans-serif; fill: #222 }
.title { font-size: 16px; font-weight: bold }
.name { font-size: 10px; pointer-events: none }
.grid { stroke: #e4e4e4 }
.axis { stroke: #222 }
.box { stroke: #444; stroke-width: 0.5 }
.box:hover { stroke-width: 2 }
.arena { stroke: #b00020; stroke-width: 2 }
.bound { stroke: #0b5fa5; stroke-width: 2; stroke-dasharray: 8 4 }
.live { stroke: #111; stroke-width: 1.2; fill: none; stroke-dasharray: 2 2; pointer-events: none }
</style>
)";

}  // namespace

std::string draw_plan(const std::string& title, const std::vector<BufferInfo>& buffers,
                      const std::vector<StepInfo>& steps, const MemoryReport& memory) {
  const Drawing drawing(buffers, steps, memory);
  const std::string width = fixed(kLeft + kWidth + kRight, 0), height = fixed(kTop + kHeight + kBottom, 0);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height + "\" viewBox=\"0 0 " +
         width + " " + height + "\">\n" + kStyle + "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" +
         text_at(kLeft, 26, "start", title, "class=\"title\"") + drawing.legend() + drawing.axes() + drawing.boxes() +
         drawing.lines() + "</svg>\n";
}

}  // namespace sparsenet::cli
