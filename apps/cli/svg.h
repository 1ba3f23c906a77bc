// Building blocks of SVG documents.
#pragma once

#include <string>

namespace sparsenet::cli::svg {

// Makes text from untrusted files safe for a document: markup is escaped, and anything but printable ASCII becomes '?'.
std::string escaped(const std::string& text);
std::string number(double value);
std::string text_at(double x, double y, const char* anchor, const std::string& text, const char* extra = "");
std::string line(double x1, double y1, double x2, double y2, const char* style);
// A round step (1, 2 or 5 times a power of ten) that gives at most `most` ticks over the range.
double round_step(double range, int most);

}  // namespace sparsenet::cli::svg
