#include "cli/output.h"

#include <algorithm>
#include <cstdio>

namespace sparsenet::cli {

std::string to_text(const Json& document) {
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void print_json(const Json& document) {
  std::fputs(to_text(document).c_str(), stdout);
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  const size_t sign = number < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > sign + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string fixed(double number, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, number);
  return text;
}

std::string bytes_text(size_t bytes) {
  auto exact = grouped(static_cast<int64_t>(bytes)) + " bytes";
  const auto amount = static_cast<double>(bytes);
  if (bytes >= size_t{1} << 20) return fixed(amount / (1 << 20), 2) + " MiB (" + exact + ")";
  if (bytes >= size_t{1} << 10) return fixed(amount / (1 << 10), 1) + " KiB (" + exact + ")";
  return exact;
}

std::string join(const std::vector<float>& numbers, const char* separator) {
  std::string text;
  for (const float number : numbers) {
    char one[32];
    std::snprintf(one, sizeof one, "%g", static_cast<double>(number));
    if (!text.empty()) text += separator;
    text += one;
  }
  return text;
}

void Table::print() const {
  std::vector<size_t> widths;
  std::vector<bool> numeric;
  for (const auto& row : rows_) {
    if (widths.size() < row.size()) {
      widths.resize(row.size(), 0);
      numeric.resize(row.size(), true);
    }
    for (size_t c = 0; c < row.size(); ++c) {
      widths[c] = std::max(widths[c], row[c].size());
      const bool is_number = row[c].empty() || (row[c].find_first_not_of("0123456789.,-+e% ") == std::string::npos);
      if (&row != &rows_.front() && !is_number) numeric[c] = false;
    }
  }
  for (const auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - row[c].size(), ' ');
      line += (c > 0 ? "  " : "") + (numeric[c] ? space + row[c] : row[c] + space);
    }
    line.resize(line.find_last_not_of(' ') == std::string::npos ? 0 : line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  }
}

}  // namespace sparsenet::cli
