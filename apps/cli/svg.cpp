#include "cli/svg.h"

#include <algorithm>
#include <cmath>

#include "cli/output.h"

namespace sparsenet::cli::svg {

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '"') {
      result += "&quot;";
    } else if (byte < 0x20 || byte > 0x7e) {
      result += '?';  // text of untrusted files: control bytes or broken UTF-8 would invalidate the whole document
    } else {
      result += c;
    }
  }
  return result;
}

std::string number(double value) {
  return fixed(value, 2);
}

std::string text_at(double x, double y, const char* anchor, const std::string& text, const char* extra) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\" " + extra + ">" +
         escaped(text) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const char* style) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
         "\" " + style + "/>\n";
}

double round_step(double range, int most) {
  double step = std::pow(10.0, std::floor(std::log10(std::max(range / most, 1e-9))));
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    if (range / (step * factor) <= most) return step * factor;
  }
  return step * 10;
}

}  // namespace sparsenet::cli::svg
