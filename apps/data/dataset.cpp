#include "data/dataset.h"

#include <algorithm>

namespace sparsenet::io {
namespace {

constexpr const char* kForms =
    "cifar10:DIR, cifar100:DIR, svhn:DIR, folder:DIR or npy:IMAGES.npy,LABELS.npy, then perhaps #train or #test";

std::vector<std::string> split_at(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + 1) {
    parts.push_back(text.substr(begin, end - begin));
  }
  parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace

void LeftOut::Group::add(const std::string& path) {
  if (count++ == 0) first = path;
}

void LeftOut::Group::add(const Group& more) {
  if (count == 0) first = more.first;
  count += more.count;
}

void LeftOut::add(const LeftOut& more) {
  for (const auto& [ending, group] : more.other_files) other_files[ending].add(group);
  loose_images.add(more.loose_images);
  empty_folders.add(more.empty_folders);
  inner_folders.add(more.inner_folders);
}

std::string to_text(const LeftOut& left_out) {
  std::string text;
  const auto append = [&](int64_t count, const char* one, const char* many, const std::string& which) {
    if (count == 0) return;
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + (count == 1 ? one : many) + " (" + which + ")";
  };
  int64_t files = 0;
  std::string kinds, first;
  for (const auto& [ending, group] : left_out.other_files) {
    files += group.count;
    kinds += (kinds.empty() ? "" : ", ") + ending + " " + std::to_string(group.count);
    if (first.empty()) first = group.first;
  }
  append(files, "file of another kind", "files of other kinds", kinds + ", as " + first);
  append(left_out.loose_images.count, "image outside the class folders", "images outside the class folders",
         left_out.loose_images.first);
  append(left_out.empty_folders.count, "folder without images", "folders without images", left_out.empty_folders.first);
  append(left_out.inner_folders.count, "folder inside a class folder", "folders inside class folders",
         left_out.inner_folders.first);
  return text;
}

Status Dataset::input(int64_t index, const Preprocess& preprocess, float* out) const {
  SPARSENET_ASSIGN_OR_RETURN(auto decoded, image(index));
  preprocess.apply(decoded, out);
  return {};
}

Result<DataSpec> parse_data_spec(const std::string& text, const std::string& default_split) {
  const auto wrong = [&](const std::string& why) {
    return invalid_argument("data '" + text + "': " + why + "; expected " + kForms);
  };
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return wrong("no format named");
  DataSpec spec;
  spec.kind = text.substr(0, colon);
  static constexpr const char* kKinds[] = {"cifar10", "cifar100", "svhn", "folder", "npy"};
  if (std::find(std::begin(kKinds), std::end(kKinds), spec.kind) == std::end(kKinds)) {
    return wrong("unknown format '" + spec.kind + "'");
  }

  std::string rest = text.substr(colon + 1);
  const size_t hash = rest.rfind('#');
  if (hash != std::string::npos && rest.find('/', hash) == std::string::npos) {
    spec.splits = split_at(rest.substr(hash + 1), '+');
    spec.split_given = true;
    rest.resize(hash);
    for (size_t i = 0; i < spec.splits.size(); ++i) {
      const std::string& split = spec.splits[i];
      const bool known = split == "train" || split == "test" || (spec.kind == "svhn" && split == "extra") ||
                         (spec.kind == "folder" && !split.empty());
      if (!known) return wrong("unknown split '" + split + "'");
      if (std::count(spec.splits.begin(), spec.splits.end(), split) > 1)
        return wrong("split '" + split + "' named twice");
    }
    if (spec.kind == "npy") return wrong("npy files have no splits");
  } else {
    spec.splits = {default_split};
  }

  if (spec.kind == "npy") {
    spec.paths = split_at(rest, ',');
    if (spec.paths.size() != 2 || spec.paths[0].empty() || spec.paths[1].empty()) {
      return wrong("npy needs two files, images and labels");
    }
  } else {
    if (rest.empty()) return wrong("no directory named");
    spec.paths = {rest};
  }
  return spec;
}

Result<std::unique_ptr<Dataset>> open_dataset(const DataSpec& spec) {
  if (spec.kind == "cifar10" || spec.kind == "cifar100") return open_cifar(spec);
  if (spec.kind == "svhn") return open_svhn(spec);
  if (spec.kind == "folder") return open_folder(spec);
  if (spec.kind == "npy") return open_npy(spec);
  return unsupported("data format '" + spec.kind + "' is not available in this version");
}

std::vector<int64_t> match_labels(const std::vector<std::string>& class_names, const std::vector<std::string>& labels) {
  std::vector<int64_t> indices;
  if (class_names == labels) {  // the same list, even if a name occurs twice in it
    for (size_t i = 0; i < labels.size(); ++i) indices.push_back(static_cast<int64_t>(i));
    return indices;
  }
  for (const std::string& name : class_names) {
    const auto found = std::find(labels.begin(), labels.end(), name);
    if (found == labels.end() || std::find(found + 1, labels.end(), name) != labels.end()) return {};
    indices.push_back(found - labels.begin());
  }
  return indices;
}

}  // namespace sparsenet::io
