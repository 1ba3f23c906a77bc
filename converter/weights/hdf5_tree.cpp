#include "converter/weights/hdf5_tree.h"

#include <cstring>

#include "converter/report.h"
#include "converter/weights/hdf5_wire.h"
#include "converter/weights/readers.h"

namespace sparsenet::converter {

const std::vector<std::string>* Hdf5Tree::attribute(const std::string& path, const std::string& name) const {
  const auto found = attributes.find({path, name});
  return found == attributes.end() ? nullptr : &found->second;
}

namespace {
Hdf5Reader other_reader = nullptr;
}  // namespace

void set_hdf5_reader(Hdf5Reader reader) {
  other_reader = reader;
}

#ifdef SPARSENET_HAVE_HDF5
namespace {

// Receives the records. The child may have been taken over by the file, so everything is checked again.
class Receiver {
 public:
  Receiver(ChildInput* input, Hdf5Tree* tree) : input_(*input), tree_(*tree) {}

  Status run() {
    for (;;) {
      uint64_t kind = 0;
      if (!number(&kind)) return cut();
      switch (static_cast<RecordKind>(kind)) {
        case RecordKind::kAttribute:
          SPARSENET_RETURN_IF_ERROR(attribute());
          break;
        case RecordKind::kDataset:
          SPARSENET_RETURN_IF_ERROR(dataset());
          break;
        case RecordKind::kRefused:
          return refused();
        case RecordKind::kEnd:
          return {};
        default:
          return cut();
      }
    }
  }

 private:
  static Status cut() { return invalid_model("damaged HDF5 file"); }

  bool number(uint64_t* value) { return input_.read(value, sizeof *value); }

  // Paid for before it is received.
  Status text(uint64_t most, std::string* out) {
    constexpr uint64_t kOverhead = 128;  // of the containers around it
    uint64_t length = 0;
    if (!number(&length) || length > most) return cut();
    taken_ += kOverhead + length;
    SPARSENET_RETURN_IF_ERROR(tree_.charge.raise_to(taken_));
    out->resize(static_cast<size_t>(length));
    return input_.read(out->data(), out->size()) ? Status() : cut();
  }

  Status attribute() {
    std::string path, name;
    uint64_t count = 0;
    SPARSENET_RETURN_IF_ERROR(text(kMaxHdf5Path, &path));
    SPARSENET_RETURN_IF_ERROR(text(kMaxHdf5Path, &name));
    if (!number(&count) || count > kMaxHdf5Texts) return cut();
    std::vector<std::string> texts;
    for (uint64_t i = 0; i < count; ++i) {
      texts.emplace_back();
      SPARSENET_RETURN_IF_ERROR(text(kMaxHdf5Text, &texts.back()));
    }
    tree_.attributes[{path, name}] = std::move(texts);
    return {};
  }

  Status dataset() {
    SPARSENET_RETURN_IF_ERROR(check_tensor_count(tree_.datasets.size() + 1));
    Hdf5Dataset set;
    uint64_t type = 0, rank = 0;
    SPARSENET_RETURN_IF_ERROR(text(kMaxHdf5Path, &set.path));
    if (!number(&type) || type > static_cast<uint64_t>(ElementType::kBool)) return cut();
    if (!number(&rank) || rank > kMaxHdf5Rank) return cut();
    set.type = static_cast<ElementType>(type);
    for (uint64_t i = 0; i < rank; ++i) {
      uint64_t dimension = 0;
      if (!number(&dimension) || dimension > static_cast<uint64_t>(INT64_MAX)) return cut();
      set.shape.push_back(static_cast<int64_t>(dimension));
    }
    const std::string what = "dataset '" + printable(set.path) + "'";
    const int64_t elements = element_count(set.shape);
    uint64_t bytes = 0;
    if (elements < 0 || !multiply(static_cast<uint64_t>(elements), size_of(set.type), &bytes)) {
      return invalid_model(what + ": its shape " + to_string(set.shape) + " is too large");
    }
    if (is_float(set.type)) {
      uint8_t* writable = nullptr;
      Result<FileBytes> data = make_bytes(bytes, &writable);
      if (!data.ok()) return data.status().with_context(what);
      uint64_t kind = 0;
      if (!number(&kind)) return cut();
      if (static_cast<RecordKind>(kind) == RecordKind::kRefused) return refused();
      if (static_cast<RecordKind>(kind) != RecordKind::kElements || !input_.read(writable, data->size)) return cut();
      set.data = std::move(*data);
    }
    tree_.datasets.push_back(std::move(set));
    return {};
  }

  Status refused() {
    std::string subject, reason;
    SPARSENET_RETURN_IF_ERROR(text(kMaxHdf5Path, &subject));
    SPARSENET_RETURN_IF_ERROR(text(kMaxHdf5Text, &reason));
    const Status status = unsupported(printable(reason));
    return subject.empty() ? status : status.with_context(printable(subject));
  }

  ChildInput& input_;
  Hdf5Tree& tree_;
  uint64_t taken_ = 0;
};

}  // namespace

Result<Hdf5Tree> read_hdf5(const FileBytes& file, const Hdf5Wanted& wanted) {
  if (other_reader != nullptr) return other_reader(file, wanted);
  constexpr char kSignature[] = "\x89HDF\r\n\x1a\n";
  constexpr uint64_t kLibraryBytes = uint64_t{64} << 20;  // what the library may take for itself
  constexpr uint64_t kSeconds = 1, kBytesPerSecond = uint64_t{128} << 20;
  if (file.size < 8 || std::memcmp(file.data, kSignature, 8) != 0) {
    return invalid_model("expected an HDF5 file, found one that does not begin as such a file does");
  }
  // What the child may take is half of what is left, which this process leaves alone meanwhile.
  MemoryCharge for_child;
  const uint64_t room = MemoryBudget::current()->left() / 2;
  SPARSENET_RETURN_IF_ERROR(for_child.raise_to(room));
  const ChildLimits limits{room > UINT64_MAX - kLibraryBytes ? room : room + kLibraryBytes,
                           kSeconds + room / kBytesPerSecond};
  Hdf5Tree tree;
  SPARSENET_RETURN_IF_ERROR(run_in_child(
      limits, [&](ChildOutput* output) { walk_hdf5(file, wanted, room, output); },
      [&](ChildInput* input) { return Receiver(input, &tree).run(); }));
  return tree;
}

#else

Result<Hdf5Tree> read_hdf5(const FileBytes& file, const Hdf5Wanted& wanted) {
  if (other_reader != nullptr) return other_reader(file, wanted);
  return unsupported(
      "this sparsenet-convert was built without libhdf5, which reads Keras files: install it (libhdf5-dev, or "
      "toolchains/setup.sh) and build again, or write a .tflite file (tf.lite.TFLiteConverter.from_keras_model) and "
      "convert that");
}

#endif

}  // namespace sparsenet::converter
