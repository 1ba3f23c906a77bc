#include "cli/plot_svg.h"

#include <algorithm>
#include <cmath>

#include "cli/output.h"
#include "cli/svg.h"

namespace sparsenet::cli {
namespace {

constexpr double kLeft = 80, kTop = 60, kWidth = 780, kHeight = 280, kRight = 40, kGap = 60, kBottom = 60;

// Line colours that are distinguishable with most kinds of colour vision, and dashes that distinguish them without
// colour.
constexpr const char* kStrokes[] = {"#0b5fa5", "#d1495b", "#2e7d32", "#7b4fa6"};
constexpr const char* kDashes[] = {"none", "7 3", "2 3", "9 3 2 3"};

// The number of digits needed to tell neighbouring ticks apart.
int digits_for(double step) {
  return std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 6);
}

bool drawable(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

class Panel {
 public:
  Panel(const PlotPanel& panel, double top, double x_end) : panel_(panel), top_(top), x_end_(std::max(x_end, 1e-9)) {
    for (const PlotSeries& series : panel.series) {
      for (const auto& point : series.points) {
        if (drawable(point)) y_end_ = std::max(y_end_, point.second);
      }
    }
    if (y_end_ <= 0) y_end_ = 1;
    step_ = svg::round_step(y_end_, 6);
    y_end_ = std::ceil(y_end_ / step_ - 1e-9) * step_;
  }

  std::string draw(bool with_x_ticks) const {
    std::string text;
    const int digits = digits_for(step_);
    for (double tick = 0; tick <= y_end_ * 1.0001; tick += step_) {
      text += svg::line(kLeft, y(tick), kLeft + kWidth, y(tick), "class=\"grid\"");
      text += svg::text_at(kLeft - 8, y(tick) + 4, "end", fixed(tick, digits));
    }
    const double x_step = svg::round_step(x_end_, 14);
    for (double tick = 0; tick <= x_end_ * 1.0001; tick += x_step) {
      text += svg::line(x(tick), bottom(), x(tick), bottom() + 5, "class=\"axis\"");
      if (with_x_ticks) text += svg::text_at(x(tick), bottom() + 20, "middle", fixed(tick, digits_for(x_step)));
    }
    text += svg::line(kLeft, top_, kLeft, bottom(), "class=\"axis\"");
    text += svg::line(kLeft, bottom(), kLeft + kWidth, bottom(), "class=\"axis\"");
    text += svg::text_at(-(top_ + kHeight / 2), 24, "middle", panel_.y_label, "transform=\"rotate(-90)\"");
    double at = kLeft;
    for (size_t i = 0; i < panel_.series.size(); ++i) text += curve(i) + legend(i, at);
    return text;
  }

  double bottom() const { return top_ + kHeight; }

 private:
  double x(double value) const { return kLeft + value / x_end_ * kWidth; }
  double y(double value) const { return bottom() - value / y_end_ * kHeight; }

  static std::string style(size_t i) {
    return std::string("stroke=\"") + kStrokes[i % std::size(kStrokes)] + "\" stroke-dasharray=\"" +
           kDashes[i % std::size(kDashes)] + "\" class=\"curve\"";
  }

  std::string curve(size_t i) const {
    std::string points, text;
    size_t count = 0;
    for (const auto& point : panel_.series[i].points) {
      if (!drawable(point)) continue;
      points += svg::number(x(point.first)) + "," + svg::number(y(point.second)) + " ";
      ++count;
    }
    if (count > 1) text += "<polyline points=\"" + points + "\" " + style(i) + "/>\n";
    // A single point makes no line.
    if (count == 1) {
      const size_t comma = points.find(',');
      text += "<circle cx=\"" + points.substr(0, comma) + "\" cy=\"" +
              points.substr(comma + 1, points.size() - comma - 2) + "\" r=\"3\" fill=\"" +
              kStrokes[i % std::size(kStrokes)] + "\"/>\n";
    }
    return text;
  }

  std::string legend(size_t i, double& at) const {
    const PlotSeries& series = panel_.series[i];
    std::string label = series.name;
    if (!series.points.empty()) label += " " + fixed(series.points.back().second, std::max(2, digits_for(step_)));
    std::string text = svg::line(at, top_ - 14, at + 28, top_ - 14, style(i).c_str());
    text += svg::text_at(at + 34, top_ - 10, "start", label);
    at += 34 + static_cast<double>(label.size()) * 6.6 + 28;
    return text;
  }

  const PlotPanel& panel_;
  double top_, x_end_, y_end_ = 0, step_ = 1;
};

constexpr const char* kStyle = R"(<style>
text { font: 12px sans-serif; fill: #222 }
.title { font-size: 15px; font-weight: bold }
.grid { stroke: #e4e4e4 }
.axis { stroke: #222 }
.curve { fill: none; stroke-width: 1.8 }
</style>
)";

}  // namespace

std::string draw_plot(const std::string& title, const std::string& x_label, double x_end,
                      const std::vector<PlotPanel>& panels) {
  std::string body;
  double top = kTop + 20;
  for (size_t i = 0; i < panels.size(); ++i) {
    const Panel panel(panels[i], top, x_end);
    body += panel.draw(i + 1 == panels.size());
    top = panel.bottom() + kGap;
  }
  const double axis = top - kGap;
  body += svg::text_at(kLeft + kWidth / 2, axis + 42, "middle", x_label);
  const std::string width = fixed(kLeft + kWidth + kRight, 0), height = fixed(axis + kBottom, 0);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height + "\" viewBox=\"0 0 " +
         width + " " + height + "\">\n" + kStyle + "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" +
         svg::text_at(kLeft, 30, "start", title, "class=\"title\"") + body + "</svg>\n";
}

}  // namespace sparsenet::cli
