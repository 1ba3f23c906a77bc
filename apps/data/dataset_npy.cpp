// npy:IMAGES.npy,LABELS.npy - ready-made inputs [N, C, H, W], used as they are, and integer labels [N]. For a network
// with an input of int8 or uint8, inputs of that type are its integers, and floats the numbers that these stand for.
#include <algorithm>

#include "data/dataset.h"
#include "data/file.h"
#include "data/npy.h"

namespace sparsenet::io {
namespace {

class NpyDataset : public Dataset {
 public:
  NpyDataset(File file, NpyHeader header, std::vector<int64_t> labels)
      : file_(std::move(file)), header_(std::move(header)), labels_(std::move(labels)) {}

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  const std::vector<std::string>& class_names() const override { return names_; }

  bool holds_images() const override { return false; }
  Result<Image> image(int64_t) const override {
    return unsupported(file_.path() + ": holds ready-made inputs, not images");
  }

  Status input(int64_t index, const Preprocess& preprocess, float* out) const override {
    const Shape expected{header_.shape[0], preprocess.channels(), preprocess.height(), preprocess.width()};
    if (header_.shape != expected) {
      return invalid_argument(file_.path() + ": expected inputs of shape " + to_string(expected) + ", found " +
                              to_string(header_.shape));
    }
    const auto count = static_cast<int64_t>(preprocess.elements());
    const bool integers = preprocess.type() != DataType::kFloat32 && header_.kind != 'f';
    if (integers && header_.type_name() != name(preprocess.type())) {
      return invalid_argument(file_.path() + ": expected " + name(preprocess.type()) +
                              ", the type of the network's input, or floats, found " + header_.type_name());
    }
    SPARSENET_RETURN_IF_ERROR(read_npy_floats(file_, header_, index * count, count, out));
    if (integers) std::transform(out, out + count, out, [&](float v) { return preprocess.real(v); });
    return {};
  }

 private:
  File file_;
  NpyHeader header_;
  std::vector<int64_t> labels_;
  std::vector<std::string> names_;
};

}  // namespace

Result<std::unique_ptr<Dataset>> open_npy(const DataSpec& spec) {
  auto images = File::open(spec.paths[0]);
  if (!images.ok()) return images.status();
  SPARSENET_ASSIGN_OR_RETURN(auto header, read_npy_header(*images));
  if (header.shape.size() != 4 || header.shape[0] < 1) {
    return invalid_argument(images->path() + ": expected images of shape [N, C, H, W], found " +
                            to_string(header.shape));
  }
  if (header.fortran_order) {
    return unsupported(images->path() + ": expected a row-major (C order) array, found Fortran order");
  }

  SPARSENET_ASSIGN_OR_RETURN(auto file, File::open(spec.paths[1]));
  SPARSENET_ASSIGN_OR_RETURN(auto label_header, read_npy_header(file));
  const Shape& shape = label_header.shape;
  const bool column = shape.size() == 2 && shape[1] == 1;
  if (!(shape.size() == 1 || column) || shape[0] != header.shape[0]) {
    return invalid_argument(file.path() + ": expected one label per image, shape [" + std::to_string(header.shape[0]) +
                            "], found " + to_string(shape));
  }
  std::vector<int64_t> labels(static_cast<size_t>(shape[0]));
  SPARSENET_RETURN_IF_ERROR(read_npy_integers(file, label_header, 0, shape[0], labels.data()));
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) {
      return invalid_argument(file.path() + ": label " + std::to_string(i) + ": expected 0 or more, found " +
                              std::to_string(labels[i]));
    }
  }
  return std::unique_ptr<Dataset>(
      std::make_unique<NpyDataset>(std::move(*images), std::move(header), std::move(labels)));
}

}  // namespace sparsenet::io
