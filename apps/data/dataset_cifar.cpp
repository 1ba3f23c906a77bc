// The official CIFAR binary files: records of one (CIFAR-10) or two (CIFAR-100: coarse, fine) label bytes and 3072
// pixel bytes, the planes R, G, B of 32 rows of 32. Source: the data sets' own page,
// https://www.cs.toronto.edu/~kriz/cifar.html.
#include <algorithm>

#include "data/dataset.h"
#include "data/file.h"

namespace sparsenet::io {
namespace {

constexpr int kCifarSide = 32;
constexpr size_t kPlaneBytes = kCifarSide * kCifarSide;
constexpr size_t kPixelBytes = 3 * kPlaneBytes;

struct CifarForm {
  size_t label_bytes;
  int classes;
  const char* folder;  // the directory into which the official archive unpacks
  const char* names_file;
  std::vector<std::string> train, test;
};

CifarForm form_of(const std::string& kind) {
  if (kind == "cifar10") {
    return {1,
            10,
            "cifar-10-batches-bin",
            "batches.meta.txt",
            {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
            {"test_batch.bin"}};
  }
  return {2, 100, "cifar-100-binary", "fine_label_names.txt", {"train.bin"}, {"test.bin"}};
}

class Cifar : public Dataset {
 public:
  Cifar(size_t label_bytes, std::vector<std::string> names) : label_bytes_(label_bytes), names_(std::move(names)) {}

  // Opens one file and reads its labels.
  Status append(const std::string& path, int classes) {
    auto file = File::open(path);
    if (!file.ok()) return file.status();
    const uint64_t record = label_bytes_ + kPixelBytes;
    if (file->size() == 0 || file->size() % record != 0) {
      return invalid_argument(path + ": expected whole records of " + std::to_string(record) + " bytes, found " +
                              std::to_string(file->size()) + " bytes");
    }
    // Reads the file sequentially in large pieces; a read for every label would take longer.
    constexpr uint64_t kRecordsARead = 512;
    const uint64_t records = file->size() / record;
    std::vector<uint8_t> buffer(static_cast<size_t>(kRecordsARead * record));
    for (uint64_t first = 0; first < records; first += kRecordsARead) {
      const uint64_t count = std::min(kRecordsARead, records - first);
      SPARSENET_RETURN_IF_ERROR(file->read_at(first * record, buffer.data(), static_cast<size_t>(count * record)));
      for (uint64_t r = 0; r < count; ++r) {
        const int label = buffer[static_cast<size_t>(r * record) + label_bytes_ - 1];
        if (label >= classes) {
          return invalid_argument(path + ": record " + std::to_string(first + r) + ": expected a label below " +
                                  std::to_string(classes) + ", found " + std::to_string(label));
        }
        labels_.push_back(static_cast<uint8_t>(label));
        places_.push_back({files_.size(), (first + r) * record + label_bytes_});
      }
    }
    files_.push_back(std::move(*file));
    return {};
  }

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  const std::vector<std::string>& class_names() const override { return names_; }

  Result<Image> image(int64_t index) const override {
    const Place& place = places_[static_cast<size_t>(index)];
    uint8_t planes[kPixelBytes];
    SPARSENET_RETURN_IF_ERROR(files_[place.file].read_at(place.offset, planes, sizeof planes));
    Image image;
    image.width = image.height = kCifarSide;
    image.pixels.resize(kPixelBytes);
    for (size_t i = 0; i < kPlaneBytes; ++i) {
      for (size_t c = 0; c < 3; ++c) image.pixels[i * 3 + c] = planes[c * kPlaneBytes + i];
    }
    return image;
  }

 private:
  struct Place {
    size_t file;
    uint64_t offset;
  };
  size_t label_bytes_;
  std::vector<std::string> names_;
  std::vector<File> files_;
  std::vector<uint8_t> labels_;
  std::vector<Place> places_;
};

}  // namespace

Result<std::unique_ptr<Dataset>> open_cifar(const DataSpec& spec) {
  const CifarForm form = form_of(spec.kind);
  std::string directory = spec.paths[0];
  if (!is_directory(directory))
    return not_found(directory + ": expected a directory with the " + spec.kind + " binary files");
  const auto unpacked = join_path(directory, form.folder);
  SPARSENET_ASSIGN_OR_RETURN(auto packed, find_file(join_path(directory, form.test[0])));
  if (!packed && is_directory(unpacked)) directory = unpacked;

  std::vector<std::string> names;
  const std::string names_path = join_path(directory, form.names_file);
  SPARSENET_ASSIGN_OR_RETURN(auto has_names, find_file(names_path));
  if (has_names) {
    SPARSENET_ASSIGN_OR_RETURN(auto lines, read_lines(names_path));
    if (lines.size() != static_cast<size_t>(form.classes)) {
      return invalid_argument(names_path + ": expected " + std::to_string(form.classes) + " class names, found " +
                              std::to_string(lines.size()));
    }
    names = std::move(lines);
  }

  auto cifar = std::make_unique<Cifar>(form.label_bytes, std::move(names));
  for (const std::string& split : spec.splits) {
    for (const std::string& name : split == "train" ? form.train : form.test) {
      SPARSENET_RETURN_IF_ERROR(cifar->append(join_path(directory, name), form.classes));
    }
  }
  return std::unique_ptr<Dataset>(std::move(cifar));
}

}  // namespace sparsenet::io
