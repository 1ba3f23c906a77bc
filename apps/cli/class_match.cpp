#include "cli/class_match.h"

#include <algorithm>
#include <limits>

namespace sparsenet::cli {
namespace {

// A class name of the data that is not among the labels, or occurs there twice.
std::string first_conflict(const std::vector<std::string>& names, const std::vector<std::string>& labels) {
  for (const std::string& name : names) {
    const auto times = std::count(labels.begin(), labels.end(), name);
    if (times == 0) return "'" + name + "' is none of them";
    if (times > 1) return "'" + name + "' stands there " + std::to_string(times) + " times";
  }
  return "";
}

}  // namespace

std::string name_list(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  std::string list;
  for (size_t i = 0; i < std::min(kShown, names.size()); ++i) list += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kShown) list += ", ..., " + std::to_string(names.size()) + " in all";
  return list;
}

int64_t count_classes(const io::Dataset& data) {
  if (!data.class_names().empty()) return static_cast<int64_t>(data.class_names().size());
  int64_t largest = -1;
  for (int64_t i = 0; i < data.size(); ++i) largest = std::max(largest, data.label(i));
  return largest == std::numeric_limits<int64_t>::max() ? largest : largest + 1;
}

ClassMatch match_classes(const io::Dataset& data, const std::vector<std::string>& labels, int64_t classes,
                         const std::string& whose) {
  ClassMatch match;
  const std::vector<std::string>& names = data.class_names();
  const int64_t count = count_classes(data);
  if (!names.empty() && !labels.empty()) {
    match.indices = io::match_labels(names, labels);
    if (match.indices.empty()) {
      match.conflict = "its classes (" + name_list(names) + ") are not " + whose + " (" + name_list(labels) +
                       "): " + first_conflict(names, labels);
    }
  } else if (names.empty() && !labels.empty()) {
    if (count < classes) {
      match.conflict = "its labels end at " + std::to_string(count - 1) + ", and it names no classes, while " + whose +
                       " are " + std::to_string(classes) + " (" + name_list(labels) + ")";
    } else if (count == classes) {
      match.assumption =
          "it names no classes; its labels count as " + whose + ", in their order (" + name_list(labels) + ")";
    }
  } else if (!names.empty() && count < classes) {
    match.assumption = "its " + std::to_string(count) + " classes (" + name_list(names) +
                       ") count as the first of the network's " + std::to_string(classes) + ", which have no names";
  }
  return match;
}

}  // namespace sparsenet::cli
