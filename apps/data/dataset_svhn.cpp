// The official SVHN files of cropped digits, MATLAB version 5: X, uint8 [32, 32, 3, N] in column-major order, and y, N
// labels in which 10 stands for the digit 0. Source: the data set's own page, http://ufldl.stanford.edu/housenumbers/.
#include <algorithm>

#include "data/dataset.h"
#include "data/file.h"
#include "data/mat_file.h"

namespace sparsenet::io {
namespace {

constexpr size_t kSvhnSide = 32, kPlane = kSvhnSide * kSvhnSide, kImageBytes = 3 * kPlane;

// A label of whatever number type the file has; -1 if it is not a digit.
int to_label(double value) {
  if (!(value >= 1 && value <= 10) || value != static_cast<int>(value)) return -1;
  return static_cast<int>(value) % 10;
}

// Whether one dimension is `count` and all others are 1.
bool is_list(const MatVariable& variable, uint64_t count) {
  return variable.elements == count &&
         std::all_of(variable.dims.begin(), variable.dims.end(), [&](uint64_t d) { return d == 1 || d == count; });
}

class Svhn : public Dataset {
 public:
  Status append(const std::string& path) {
    SPARSENET_ASSIGN_OR_RETURN(auto file, MatFile::open(path));
    const auto wrong = [&](const char* name, const std::string& expected) {
      const MatVariable* variable = file.find(name);
      if (variable == nullptr) return invalid_argument(path + ": expected a variable " + name + ", found none");
      return invalid_argument(path + ": variable " + name + ": expected " + expected + ", found " +
                              variable->describe());
    };
    const MatVariable* x = file.find("X");
    const bool images = x != nullptr && x->is_uint8() && x->dims.size() == 4 && x->dims[0] == kSvhnSide &&
                        x->dims[1] == kSvhnSide && x->dims[2] == 3 && x->dims[3] >= 1;
    if (!images) return wrong("X", "uint8 [32, 32, 3, N]");
    const uint64_t count = x->dims[3];
    const MatVariable* y = file.find("y");
    const bool labels = y != nullptr && (y->is_uint8() || y->is_double()) && is_list(*y, count);
    if (!labels) return wrong("y", std::to_string(count) + " labels, uint8 or double");

    SPARSENET_ASSIGN_OR_RETURN(auto digits, file.read_numbers(*y));
    SPARSENET_ASSIGN_OR_RETURN(auto pixels, file.read_bytes(*x));
    for (size_t i = 0; i < digits.size(); ++i) {
      const int label = to_label(digits[i]);
      if (label < 0) {
        return invalid_argument(path + ": label " + std::to_string(i) + ": expected a whole number from 1 to 10");
      }
      labels_.push_back(static_cast<uint8_t>(label));
    }
    parts_.push_back({labels_.size() - digits.size(), std::move(pixels)});
    return {};
  }

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  const std::vector<std::string>& class_names() const override { return names_; }

  Result<Image> image(int64_t index) const override {
    const auto wanted = static_cast<size_t>(index);
    const auto part = std::find_if(parts_.rbegin(), parts_.rend(), [&](const Part& p) { return p.first <= wanted; });
    const auto* pixels = part->pixels.data() + (wanted - part->first) * kImageBytes;
    Image image;
    image.width = image.height = static_cast<int>(kSvhnSide);
    image.pixels.resize(kImageBytes);
    for (size_t row = 0; row < kSvhnSide; ++row) {
      for (size_t column = 0; column < kSvhnSide; ++column) {
        for (size_t c = 0; c < 3; ++c) {
          image.pixels[(row * kSvhnSide + column) * 3 + c] = pixels[c * kPlane + column * kSvhnSide + row];
        }
      }
    }
    return image;
  }

 private:
  struct Part {  // of one file, from image `first` on
    size_t first;
    std::vector<uint8_t> pixels;  // [image][channel][column][row]
  };
  std::vector<std::string> names_{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  std::vector<uint8_t> labels_;
  std::vector<Part> parts_;
};

}  // namespace

Result<std::unique_ptr<Dataset>> open_svhn(const DataSpec& spec) {
  const std::string& directory = spec.paths[0];
  if (!is_directory(directory)) return not_found(directory + ": expected a directory with the SVHN .mat files");
  auto svhn = std::make_unique<Svhn>();
  for (const std::string& split : spec.splits) {
    SPARSENET_RETURN_IF_ERROR(svhn->append(join_path(directory, split + "_32x32.mat")));
  }
  return std::unique_ptr<Dataset>(std::move(svhn));
}

}  // namespace sparsenet::io
