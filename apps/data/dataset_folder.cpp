// folder:DIR - one sub-directory per class, whose PNG and JPEG files are the images; classes are ordered by name. A
// sub-directory without images is not a class.
#include <algorithm>
#include <map>

#include "data/dataset.h"
#include "data/file.h"

namespace sparsenet::io {
namespace {

// The contents of one directory of classes.
struct Listing {
  std::map<std::string, std::vector<std::string>> images;  // paths by class, both sorted
  LeftOut left_out;
};

std::string suffix_of(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos || dot == 0 ? "no ending" : name.substr(dot);
}

Result<Listing> list_classes(const std::string& directory) {
  SPARSENET_ASSIGN_OR_RETURN(auto entries, list_directory(directory));
  Listing listing;
  LeftOut& left_out = listing.left_out;
  for (const std::string& entry : entries) {
    const std::string path = join_path(directory, entry);
    SPARSENET_ASSIGN_OR_RETURN(const bool is_class, find_directory(path));
    if (!is_class) {
      if (has_image_suffix(entry)) {
        left_out.loose_images.add(path);
      } else {
        left_out.other_files[suffix_of(entry)].add(path);
      }
      continue;
    }
    SPARSENET_ASSIGN_OR_RETURN(auto files, list_directory(path));
    std::vector<std::string> images;
    for (const std::string& file : files) {
      const std::string inner = join_path(path, file);
      SPARSENET_ASSIGN_OR_RETURN(const bool is_folder, find_directory(inner));
      if (is_folder) {
        left_out.inner_folders.add(inner);
      } else if (has_image_suffix(file)) {
        images.push_back(inner);
      } else {
        left_out.other_files[suffix_of(file)].add(inner);
      }
    }
    if (images.empty()) {
      left_out.empty_folders.add(path);
    } else {
      listing.images.emplace(entry, std::move(images));
    }
  }
  return listing;
}

bool holds_classes(const std::string& directory) {
  auto listing = list_classes(directory);
  return listing.ok() && !listing->images.empty();
}

// The sub-directories that contain class folders themselves: splits, one of which the user has to name.
std::string splits_in(const std::string& directory) {
  auto entries = list_directory(directory);
  std::string names;
  if (!entries.ok()) return names;
  for (const std::string& entry : *entries) {
    const std::string path = join_path(directory, entry);
    if (is_directory(path) && holds_classes(path)) names += (names.empty() ? "#" : ", #") + entry;
  }
  return names;
}

class Folder : public Dataset {
 public:
  int64_t size() const override { return static_cast<int64_t>(paths_.size()); }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  const std::vector<std::string>& class_names() const override { return names_; }
  Result<Image> image(int64_t index) const override { return load_image(source(index)); }
  std::string source(int64_t index) const override { return paths_[static_cast<size_t>(index)]; }
  LeftOut left_out() const override { return left_out_; }

  // Adds the images of one directory of classes.
  Status append(const std::string& directory) {
    SPARSENET_ASSIGN_OR_RETURN(auto listing, list_classes(directory));
    left_out_.add(listing.left_out);
    if (listing.images.empty()) {
      const std::string splits = splits_in(directory), found = to_text(listing.left_out);
      return not_found(directory + ": expected one folder per class with .png, .jpg or .jpeg files, found " +
                       (found.empty() ? "nothing" : found) +
                       (splits.empty() ? "" : "; a suffix names one of its splits: " + splits));
    }
    parts_.push_back({directory, std::move(listing.images)});
    return {};
  }

  // Numbers the classes of all parts. One part may lack classes of another, as small test sets do; if each lacks some
  // of the other's, it is more likely that names are written differently.
  Status finish() {
    for (const Part& part : parts_) {
      for (const auto& [name, images] : part.images) names_.push_back(name);
    }
    std::sort(names_.begin(), names_.end());
    names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
    for (size_t i = 1; i < parts_.size(); ++i) {
      const std::string more = first_missing(parts_[i], parts_[0]), less = first_missing(parts_[0], parts_[i]);
      if (more.empty() || less.empty()) continue;
      return invalid_argument(parts_[i].directory + ": expected the class folders of " + parts_[0].directory +
                              ", found '" + more + "', which is none of them, and no '" + less + "'");
    }
    for (const Part& part : parts_) {
      for (const auto& [name, images] : part.images) {
        const auto label = std::lower_bound(names_.begin(), names_.end(), name) - names_.begin();
        paths_.insert(paths_.end(), images.begin(), images.end());
        labels_.insert(labels_.end(), images.size(), label);
      }
    }
    return {};
  }

 private:
  struct Part {
    std::string directory;
    std::map<std::string, std::vector<std::string>> images;
  };
  // A class of `part` that `other` lacks, or an empty string.
  static std::string first_missing(const Part& part, const Part& other) {
    for (const auto& [name, images] : part.images) {
      if (other.images.count(name) == 0) return name;
    }
    return "";
  }

  std::vector<Part> parts_;
  std::vector<std::string> names_;
  std::vector<std::string> paths_;
  std::vector<int64_t> labels_;
  LeftOut left_out_;
};

}  // namespace

Result<std::unique_ptr<Dataset>> open_folder(const DataSpec& spec) {
  const std::string& directory = spec.paths[0];
  if (!is_directory(directory)) return not_found(directory + ": expected a directory with one folder per class");
  auto folder = std::make_unique<Folder>();
  for (const std::string& split : spec.splits) {
    const std::string part = join_path(directory, split);
    SPARSENET_ASSIGN_OR_RETURN(auto there, find_directory(part));
    if (spec.split_given && !there) return not_found(part + ": expected a directory with one folder per class");
    // Without a suffix, DIR/train or DIR/test is taken where it holds class folders. Else DIR itself holds them, and a
    // folder of that name may be a class: trains, say.
    bool has_split = spec.split_given;
    if (!has_split && there) {
      SPARSENET_ASSIGN_OR_RETURN(auto listing, list_classes(part));
      has_split = !listing.images.empty();
    }
    SPARSENET_RETURN_IF_ERROR(folder->append(has_split ? part : directory));
  }
  SPARSENET_RETURN_IF_ERROR(folder->finish());
  const bool only_split = !spec.split_given && folder->class_names() == spec.splits;
  if (only_split) {
    return not_found(join_path(directory, spec.splits[0]) +
                     ": expected one folder per class, found images that no class folder names");
  }
  return std::unique_ptr<Dataset>(std::move(folder));
}

}  // namespace sparsenet::io
