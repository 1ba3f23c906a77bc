#include "cli/broken_images.h"

#include <algorithm>

namespace sparsenet::cli {

bool BrokenImages::take(const io::Dataset& data, int64_t index, const Status& error) {
  std::string file = data.source(index);
  if (file.empty() || error.code() == StatusCode::kOutOfMemory) return false;
  images_.push_back({std::move(file), error.message(), data.label(index)});
  ++of_class_[data.label(index)];
  return true;
}

std::string BrokenImages::text(int64_t all) const {
  constexpr size_t kShown = 200;
  std::string text = std::to_string(images_.size()) + " of " + std::to_string(all) + " images cannot be read";
  for (size_t i = 0; i < std::min(kShown, images_.size()); ++i) text += "\n  " + images_[i].reason;
  if (images_.size() > kShown) text += "\n  and " + std::to_string(images_.size() - kShown) + " more";
  return text;
}

Status BrokenImages::check(const io::Dataset& data, const std::string& name, bool skip) const {
  if (images_.empty()) return {};
  if (!skip) {
    if (images_.size() == 1) {
      return invalid_argument(name + ": " + images_[0].reason + " (the only one of " + std::to_string(data.size()) +
                              " images that cannot be read; --skip-broken leaves it out)");
    }
    return invalid_argument(name + ": --skip-broken leaves them out: " + text(data.size()));
  }
  std::map<int64_t, int64_t> in_class;
  for (int64_t i = 0; i < data.size(); ++i) ++in_class[data.label(i)];
  for (const auto& [label, count] : of_class_) {
    if (count < in_class[label]) continue;
    const auto& names = data.class_names();
    const auto at = static_cast<size_t>(label);
    return invalid_argument(name + ": none of the " + std::to_string(count) + " images of class '" +
                            (at < names.size() ? names[at] : std::to_string(label)) +
                            "' can be read; the first: " + images_[0].reason);
  }
  return {};
}

}  // namespace sparsenet::cli
