// The official SVHN files of cropped digits, MATLAB version 5: X, uint8 [32, 32, 3, N] in column-major order, and y, N
// labels in which 10 stands for the digit 0. Source: the data set's own page, http://ufldl.stanford.edu/housenumbers/.
#include <matio.h>
#include <zlib.h>

#include <algorithm>
#include <memory>

#include "io/dataset.h"
#include "io/file.h"

namespace sparsenet::io {
namespace {

constexpr size_t kSide = 32, kPlane = kSide * kSide, kImageBytes = 3 * kPlane;

struct CloseFile {
  void operator()(mat_t* file) const { Mat_Close(file); }
};
struct FreeVariable {
  void operator()(matvar_t* variable) const { Mat_VarFree(variable); }
};
using MatFile = std::unique_ptr<mat_t, CloseFile>;
using Variable = std::unique_ptr<matvar_t, FreeVariable>;

// The library would print its complaints on stderr; our own errors say what is wrong. Its releases differ in the type.
[[maybe_unused]] void be_silent(int, char*) {}
[[maybe_unused]] void be_silent(int, const char*) {}

// The library takes a file that is cut, or whose compressed data is damaged, for whole and gives zeros in place of what
// is missing. So the file is gone through first: elements of a tag (type, size) and data, of which the compressed ones
// carry a checksum.
class ElementCheck {
 public:
  explicit ElementCheck(const File& file) : file_(file), buffer_(1 << 16) {}

  Status run() {
    constexpr uint64_t kHeader = 128, kTag = 8;
    uint8_t header[kHeader];
    if (file_.size() < kHeader) return not_matlab();
    SPARSENET_RETURN_IF_ERROR(file_.read_at(0, header, kHeader));
    const bool little = header[126] == 'I' && header[127] == 'M', big = header[126] == 'M' && header[127] == 'I';
    const uint32_t version = little ? word(header + 124, true) & 0xffff : word(header + 124, false) >> 16;
    if ((!little && !big) || version != 0x0100) return not_matlab();
    for (uint64_t at = kHeader; at < file_.size();) {
      uint8_t tag[kTag];
      if (file_.size() - at < kTag) return cut(at);
      SPARSENET_RETURN_IF_ERROR(file_.read_at(at, tag, kTag));
      const uint64_t size = word(tag + 4, little);
      if (size > file_.size() - at - kTag) return cut(at);
      constexpr uint32_t kCompressed = 15;
      if (word(tag, little) == kCompressed) SPARSENET_RETURN_IF_ERROR(inflate_all(at + kTag, size));
      at += kTag + size;
    }
    return {};
  }

 private:
  static uint32_t word(const uint8_t* bytes, bool little) {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value |= uint32_t{bytes[i]} << (little ? 8 * i : 24 - 8 * i);
    return value;
  }
  Status not_matlab() const {
    return invalid_argument(file_.path() + ": expected a MATLAB file (version 5), found something else");
  }
  Status cut(uint64_t at) const {
    return invalid_argument(file_.path() + ": the file is cut: the element at byte " + std::to_string(at) +
                            " is longer than what is left of " + std::to_string(file_.size()) + " bytes");
  }

  Status inflate_all(uint64_t at, uint64_t size) {
    const uint64_t begin = at;
    z_stream stream{};
    if (inflateInit(&stream) != Z_OK) return out_of_memory(file_.path() + ": no memory to decompress it");
    Status status;
    std::vector<uint8_t> out(buffer_.size());
    int code = Z_OK;
    while (code == Z_OK && size > 0 && status.ok()) {
      const auto now = static_cast<size_t>(std::min<uint64_t>(size, buffer_.size()));
      status = file_.read_at(at, buffer_.data(), now);
      at += now;
      size -= now;
      stream.next_in = buffer_.data();
      stream.avail_in = static_cast<uInt>(now);
      do {
        stream.next_out = out.data();
        stream.avail_out = static_cast<uInt>(out.size());
        code = inflate(&stream, Z_NO_FLUSH);
      } while (code == Z_OK && stream.avail_out == 0);
      if (code == Z_BUF_ERROR) code = Z_OK;  // it wants more input
    }
    inflateEnd(&stream);
    if (status.ok() && code != Z_STREAM_END) {
      status =
          invalid_argument(file_.path() + ": the compressed data at byte " + std::to_string(begin) + " is damaged");
    }
    return status;
  }

  const File& file_;
  std::vector<uint8_t> buffer_;
};

std::string describe(const matvar_t& variable) {
  std::string text = variable.class_type == MAT_C_UINT8 ? "uint8 [" : "another type [";
  for (int i = 0; i < variable.rank; ++i) text += (i > 0 ? ", " : "") + std::to_string(variable.dims[i]);
  return text + "]";
}

// Reads a variable's header, lets `check` look at its shape, and only then reads what may be gigabytes.
template <class Check>
Result<Variable> read_variable(mat_t* file, const std::string& path, const char* name, const std::string& expected,
                               const Check& check) {
  Variable variable(Mat_VarReadInfo(file, name));
  if (variable == nullptr) return invalid_argument(path + ": expected a variable " + name + ", found none");
  const bool usable = variable->rank >= 1 && variable->dims != nullptr && variable->isComplex == 0;
  if (!usable || !check(*variable)) {
    return invalid_argument(path + ": variable " + name + ": expected " + expected + ", found " +
                            (usable ? describe(*variable) : "something else"));
  }
  if (Mat_VarReadDataAll(file, variable.get()) != 0 || variable->data == nullptr) {
    return invalid_argument(path + ": variable " + name + ": its data is damaged or cut");
  }
  return variable;
}

// One label of whatever number type the file has; -1 where it is no digit.
int label_at(const matvar_t& y, size_t index) {
  double value = 0;
  if (y.class_type == MAT_C_UINT8) {
    value = static_cast<const uint8_t*>(y.data)[index];
  } else {
    value = static_cast<const double*>(y.data)[index];
  }
  if (!(value >= 1 && value <= 10) || value != static_cast<int>(value)) return -1;
  return static_cast<int>(value) % 10;
}

class Svhn : public Dataset {
 public:
  Status append(const std::string& path) {
    auto opened = File::open(path);
    if (!opened.ok()) return opened.status();
    SPARSENET_RETURN_IF_ERROR(ElementCheck(*opened).run());
    Mat_LogInitFunc("sparsenet", be_silent);
    const MatFile file(Mat_Open(path.c_str(), MAT_ACC_RDONLY));
    if (file == nullptr) return invalid_argument(path + ": expected a MATLAB file (version 5), found something else");

    auto x = read_variable(file.get(), path, "X", "uint8 [32, 32, 3, N]", [](const matvar_t& v) {
      return v.class_type == MAT_C_UINT8 && v.rank == 4 && v.dims[0] == kSide && v.dims[1] == kSide && v.dims[2] == 3 &&
             v.dims[3] >= 1 && v.dims[3] <= (size_t{1} << 40) / kImageBytes;
    });
    if (!x.ok()) return x.status();
    const size_t count = (*x)->dims[3];
    if ((*x)->nbytes != count * kImageBytes) return invalid_argument(path + ": variable X: its data is damaged or cut");

    const std::string expected = std::to_string(count) + " labels, uint8 or double";
    auto y = read_variable(file.get(), path, "y", expected, [&](const matvar_t& v) {
      size_t elements = 1;
      for (int i = 0; i < v.rank; ++i) {
        if (v.dims[i] != 1 && v.dims[i] != count) return false;
        if (v.dims[i] == count) elements = elements == 1 ? count : 0;
      }
      return elements == count && (v.class_type == MAT_C_UINT8 || v.class_type == MAT_C_DOUBLE);
    });
    if (!y.ok()) return y.status();
    const size_t width = (*y)->class_type == MAT_C_UINT8 ? 1 : sizeof(double);
    if ((*y)->nbytes != count * width) return invalid_argument(path + ": variable y: its data is damaged or cut");

    for (size_t i = 0; i < count; ++i) {
      const int label = label_at(**y, i);
      if (label < 0) {
        return invalid_argument(path + ": label " + std::to_string(i) + ": expected a whole number from 1 to 10");
      }
      labels_.push_back(static_cast<uint8_t>(label));
    }
    parts_.push_back({labels_.size() - count, std::move(*x)});
    return {};
  }

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  const std::vector<std::string>& class_names() const override { return names_; }

  Result<Image> image(int64_t index) const override {
    const auto wanted = static_cast<size_t>(index);
    const auto part = std::find_if(parts_.rbegin(), parts_.rend(), [&](const Part& p) { return p.first <= wanted; });
    const auto* pixels = static_cast<const uint8_t*>(part->x->data) + (wanted - part->first) * kImageBytes;
    Image image;
    image.width = image.height = static_cast<int>(kSide);
    image.pixels.resize(kImageBytes);
    for (size_t row = 0; row < kSide; ++row) {
      for (size_t column = 0; column < kSide; ++column) {
        for (size_t c = 0; c < 3; ++c) {
          image.pixels[(row * kSide + column) * 3 + c] = pixels[c * kPlane + column * kSide + row];
        }
      }
    }
    return image;
  }

 private:
  struct Part {  // of one file, from image `first` on
    size_t first;
    Variable x;
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
