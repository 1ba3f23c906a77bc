#include "cli/data_report.h"

#include <algorithm>
#include <map>

namespace sparsenet::cli {
namespace {

std::string numbers(const std::vector<float>& values) {
  std::string text;
  for (const float value : values) text += (text.empty() ? "" : ",") + fixed(static_cast<double>(value), 1);
  return text;
}

Json left_out_json(const io::LeftOut& left_out) {
  Json other = Json::object();
  for (const auto& [ending, group] : left_out.other_files) other[ending] = group.count;
  return {{"other_files", other},
          {"loose_images", left_out.loose_images.count},
          {"empty_folders", left_out.empty_folders.count},
          {"inner_folders", left_out.inner_folders.count}};
}

}  // namespace

DataReport::DataReport(const io::Dataset& data, std::string name)
    : name_(std::move(name)), all_(data.size()), images_(data.size()), left_out_(data.left_out()) {
  std::map<int64_t, int64_t> counts;
  for (int64_t i = 0; i < data.size(); ++i) ++counts[data.label(i)];
  // All classes that have a name, and all labels that images have.
  for (size_t c = 0; c < data.class_names().size(); ++c) counts.emplace(static_cast<int64_t>(c), 0);
  for (const auto& [label, count] : counts) {
    const auto at = static_cast<size_t>(label);
    labels_.push_back(label);
    class_names_.push_back(at < data.class_names().size() ? data.class_names()[at] : std::to_string(label));
    of_class_.push_back(count);
  }
}

void DataReport::skipped(const BrokenImages& broken) {
  broken_ = broken;
  images_ = all_ - static_cast<int64_t>(broken.images().size());
  for (const auto& image : broken.images()) {
    const auto at = std::lower_bound(labels_.begin(), labels_.end(), image.label) - labels_.begin();
    --of_class_[static_cast<size_t>(at)];
  }
}

void DataReport::measured(const std::vector<float>& mean, const std::vector<float>& std_dev,
                          const std::string& remark) {
  mean_ = mean;
  std_dev_ = std_dev;
  remark_ = remark;
}

std::string DataReport::classes_text() const {
  constexpr size_t kShown = 20;
  std::string text = " of " + std::to_string(of_class_.size()) + (of_class_.size() == 1 ? " class" : " classes");
  const auto [least, most] = std::minmax_element(of_class_.begin(), of_class_.end());
  if (of_class_.size() > 1 && *least == *most) {
    text += ", " + grouped(*most) + " each: ";
    for (size_t c = 0; c < std::min(kShown, of_class_.size()); ++c) text += (c > 0 ? ", " : "") + class_names_[c];
  } else {
    if (of_class_.size() > kShown) text += ", from " + grouped(*least) + " to " + grouped(*most) + " each";
    text += ": ";
    for (size_t c = 0; c < std::min(kShown, of_class_.size()); ++c) {
      text += (c > 0 ? ", " : "") + class_names_[c] + " " + grouped(of_class_[c]);
    }
  }
  return text + (of_class_.size() > kShown ? ", ..." : "");
}

std::vector<std::string> DataReport::lines(const std::string& heading) const {
  const std::string blanks(heading.size(), ' ');
  std::vector<std::string> lines{heading + name_ + ": " + grouped(images_) + (images_ == 1 ? " image" : " images") +
                                 classes_text()};
  const std::string left_out = io::to_text(left_out_);
  if (!left_out.empty()) lines.push_back(blanks + "left out: " + left_out);
  if (!broken_.images().empty()) {
    std::string text = broken_.text(all_) + "\n";
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      lines.push_back(blanks + (at == 0 ? "left out: " : "") + text.substr(at, end - at));
    }
  }
  if (!mean_.empty()) {
    lines.push_back(blanks + "pixels: mean " + numbers(mean_) + ", std " + numbers(std_dev_) +
                    (remark_.empty() ? "" : " (" + remark_ + ")"));
  }
  return lines;
}

Json DataReport::json() const {
  Json classes = Json::array();
  for (size_t c = 0; c < of_class_.size(); ++c)
    classes.push_back({{"name", class_names_[c]}, {"images", of_class_[c]}});
  Json document{{"data", name_}, {"images", images_}, {"classes", classes}, {"left_out", left_out_json(left_out_)}};
  document["skipped"] = Json::array();
  for (const auto& image : broken_.images()) document["skipped"].push_back(image.file);
  if (!mean_.empty()) {
    document["mean"] = mean_;
    document["std"] = std_dev_;
  }
  return document;
}

}  // namespace sparsenet::cli
