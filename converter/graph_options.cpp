#include "converter/graph_options.h"

#include <algorithm>
#include <cstdlib>

#include "io/text.h"

namespace sparsenet::converter {

Result<std::pair<std::string, Shape>> parse_input_shape(const std::string& text) {
  const auto wrong = [&text] {
    return invalid_argument("--input-shape: expected NAME=1,3,48,192 (a name and at most 8 sizes), found '" +
                            io::printable(text) + "'");
  };
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) return wrong();
  Shape shape;
  for (size_t at = equals + 1; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string number = text.substr(at, end - at);
    if (number.empty() || number.size() > 9 || number.find_first_not_of("0123456789") != std::string::npos) {
      return wrong();
    }
    shape.push_back(std::strtoll(number.c_str(), nullptr, 10));
    if (shape.back() == 0 || shape.size() > 8) return wrong();
    at = end + 1;
  }
  return std::make_pair(text.substr(0, equals), shape);
}

}  // namespace sparsenet::converter
