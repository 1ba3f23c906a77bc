// Draws curves.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace sparsenet::cli {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; points that are not finite are left out
};

// One diagram: its y axis starts at 0 and covers all points.
struct PlotPanel {
  std::string y_label;
  std::vector<PlotSeries> series;
};

// An SVG document: the panels below each other with a common x axis from 0 to `x_end`, each with a legend that names
// its series and their last values.
std::string draw_plot(const std::string& title, const std::string& x_label, double x_end,
                      const std::vector<PlotPanel>& panels);

}  // namespace sparsenet::cli
