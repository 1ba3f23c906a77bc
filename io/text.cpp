#include "io/text.h"

#include <utility>

namespace sparsenet::io {

std::vector<std::string> split_lines(const uint8_t* text, size_t bytes) {
  std::vector<std::string> lines;
  std::string line;
  const auto finish = [&] {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) line.pop_back();
    lines.push_back(std::move(line));
    line.clear();
  };
  for (size_t i = 0; i < bytes; ++i) {
    if (text[i] == '\n') {
      finish();
    } else {
      line.push_back(static_cast<char>(text[i]));
    }
  }
  if (!line.empty()) finish();
  return lines;
}

std::string printable(const std::string& text) {
  constexpr size_t kMaxLength = 400;
  std::string out = text.substr(0, kMaxLength);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() > kMaxLength) out += "...";
  return out;
}

}  // namespace sparsenet::io
