// folder:DIR - one sub-directory a class, its PNG and JPEG files the images; classes in the order of their names.
#include "io/dataset.h"
#include "io/file.h"

namespace sparsenet::io {
namespace {

class Folder : public Dataset {
 public:
  int64_t size() const override { return static_cast<int64_t>(paths_.size()); }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  const std::vector<std::string>& class_names() const override { return names_; }
  Result<Image> image(int64_t index) const override { return load_image(paths_[static_cast<size_t>(index)]); }

  // Adds the images of one directory of classes. Further directories must have the same classes.
  Status append(const std::string& directory) {
    auto entries = list_directory(directory);
    if (!entries.ok()) return entries.status();
    std::vector<std::string> classes;
    for (const std::string& entry : *entries) {
      if (is_directory(join_path(directory, entry))) classes.push_back(entry);
    }
    if (classes.empty()) return not_found(directory + ": expected one folder a class, found no folder");
    if (names_.empty()) {
      names_ = classes;
    } else if (names_ != classes) {
      return invalid_argument(directory + ": expected the same class folders as in the split before, found others");
    }
    const size_t before = paths_.size();
    for (size_t c = 0; c < classes.size(); ++c) {
      const std::string folder = join_path(directory, classes[c]);
      auto files = list_directory(folder);
      if (!files.ok()) return files.status();
      for (const std::string& file : *files) {
        if (!has_image_suffix(file)) continue;
        paths_.push_back(join_path(folder, file));
        labels_.push_back(static_cast<int64_t>(c));
      }
    }
    if (paths_.size() == before) {
      return not_found(directory + ": expected .png, .jpg or .jpeg files in the class folders, found none");
    }
    return {};
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::string> paths_;
  std::vector<int64_t> labels_;
};

}  // namespace

Result<std::unique_ptr<Dataset>> open_folder(const DataSpec& spec) {
  const std::string& directory = spec.paths[0];
  if (!is_directory(directory)) return not_found(directory + ": expected a directory with one folder a class");
  auto folder = std::make_unique<Folder>();
  for (const std::string& split : spec.splits) {
    // DIR/train and DIR/test are taken where they exist; without a suffix, DIR itself may hold the classes.
    const std::string part = join_path(directory, split);
    const bool has_split = is_directory(part);
    if (!has_split && spec.split_given) return not_found(part + ": expected a directory with one folder a class");
    SPARSENET_RETURN_IF_ERROR(folder->append(has_split ? part : directory));
  }
  return std::unique_ptr<Dataset>(std::move(folder));
}

}  // namespace sparsenet::io
