// The two file formats of torch.save: containers of a pickle that describes the tensors, and of raw storages.
#include <algorithm>
#include <cstring>
#include <functional>
#include <unordered_map>

#include "converter/io/zip_archive.h"
#include "converter/report.h"
#include "converter/weights/checkpoint.h"
#include "converter/weights/pickle.h"
#include "converter/weights/readers.h"

namespace sparsenet::converter {
namespace {

using Kind = PickleValue::Kind;

// What a persistent id says about a storage: ('storage', type, key, device, elements[, view]).
struct StorageId {
  ElementType type = ElementType::kFloat32;
  std::string key;
  int64_t elements = 0;
  int64_t view_offset = 0;  // in the older format a storage may be a view of another one
};

using StorageLookup = std::function<Result<FileBytes>(const StorageId&)>;

Result<ElementType> storage_type(const std::string& global) {
  struct Row {
    const char* name;
    ElementType type;
  };
  static const Row kRows[] = {
      {"FloatStorage", ElementType::kFloat32}, {"DoubleStorage", ElementType::kFloat64},
      {"HalfStorage", ElementType::kFloat16},  {"BFloat16Storage", ElementType::kBFloat16},
      {"LongStorage", ElementType::kInt64},    {"IntStorage", ElementType::kInt32},
      {"ShortStorage", ElementType::kInt16},   {"CharStorage", ElementType::kInt8},
      {"ByteStorage", ElementType::kUInt8},    {"BoolStorage", ElementType::kBool},
  };
  const std::string last = global.substr(global.find_last_of('.') + 1);
  for (const Row& row : kRows) {
    if (last == row.name) return row.type;
  }
  return unsupported("storage type '" + printable(global) + "'");
}

Result<StorageId> parse_storage(const Pickle& pickle, const PickleValue& storage) {
  const Status malformed = invalid_model("a storage that is not described as torch.save does it");
  if (storage.kind != Kind::kStorage || storage.items.size() != 1) return malformed;
  const PickleValue& id = pickle.at(storage.items[0]);
  if (id.kind != Kind::kTuple || id.items.size() < 5) return malformed;
  const PickleValue& tag = pickle.at(id.items[0]);
  const PickleValue& type = pickle.at(id.items[1]);
  const PickleValue& key = pickle.at(id.items[2]);
  const PickleValue& elements = pickle.at(id.items[4]);
  if (tag.text != "storage" || type.kind != Kind::kGlobal || key.kind != Kind::kString || elements.kind != Kind::kInt) {
    return malformed;
  }
  StorageId out;
  SPARSENET_ASSIGN_OR_RETURN(out.type, storage_type(type.text));
  out.key = key.text;
  out.elements = elements.integer;
  if (id.items.size() > 5) {
    const PickleValue& view = pickle.at(id.items[5]);
    if (view.kind == Kind::kTuple) {
      if (view.items.size() != 3 || pickle.at(view.items[1]).kind != Kind::kInt) return malformed;
      out.view_offset = pickle.at(view.items[1]).integer;
    }
  }
  if (out.elements < 0 || out.view_offset < 0) return malformed;
  return out;
}

bool read_sizes(const Pickle& pickle, const PickleValue& value, Shape* out) {
  constexpr size_t kMaxRank = 16;
  if ((value.kind != Kind::kTuple && value.kind != Kind::kList) || value.items.size() > kMaxRank) return false;
  for (uint32_t item : value.items) {
    const PickleValue& number = pickle.at(item);
    if (number.kind != Kind::kInt || number.integer < 0) return false;
    out->push_back(number.integer);
  }
  return true;
}

// Whether the strides are those of a row-major tensor, so that no element has to be moved.
bool is_contiguous(const Shape& shape, const Shape& strides) {
  int64_t expected = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && strides[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

// Reads one tensor, contiguous or not, as row-major floats.
Status read_tensor(const Pickle& pickle, const PickleValue& value, const StorageLookup& lookup, SourceTensor* out) {
  SPARSENET_ASSIGN_OR_RETURN(StorageId id, parse_storage(pickle, pickle.at(value.items[0])));
  out->type = id.type;
  const PickleValue& offset_value = pickle.at(value.items[1]);
  Shape strides;
  if (offset_value.kind != Kind::kInt || offset_value.integer < 0 ||
      !read_sizes(pickle, pickle.at(value.items[2]), &out->shape) ||
      !read_sizes(pickle, pickle.at(value.items[3]), &strides) || strides.size() != out->shape.size()) {
    return invalid_model("expected an offset, sizes and as many strides, all 0 or more");
  }
  const int64_t count = element_count(out->shape);
  if (count < 0) return invalid_model("shape " + to_string(out->shape) + " is too large");
  if (!is_float(out->type) || count == 0) return {};

  SPARSENET_ASSIGN_OR_RETURN(FileBytes bytes, lookup(id));
  const size_t step = size_of(out->type);
  const uint64_t available = bytes.size / step;
  // The last element that the strides reach must lie inside: offset + sum of (size - 1) * stride.
  uint64_t last = static_cast<uint64_t>(id.view_offset);
  auto advance = [&last, available](uint64_t by) {
    if (last >= available || by >= available - last) return false;
    last += by;
    return true;
  };
  bool inside = advance(static_cast<uint64_t>(offset_value.integer));
  for (size_t d = 0; inside && d < strides.size(); ++d) {
    uint64_t reach = 0;
    inside =
        multiply(static_cast<uint64_t>(out->shape[d] - 1), static_cast<uint64_t>(strides[d]), &reach) && advance(reach);
  }
  if (!inside) {
    return invalid_model("shape " + to_string(out->shape) + " with strides " + to_string(strides) +
                         " reaches beyond its storage of " + std::to_string(available) + " elements");
  }
  const uint8_t* base =
      bytes.data + (static_cast<size_t>(id.view_offset) + static_cast<size_t>(offset_value.integer)) * step;
  if (is_contiguous(out->shape, strides)) {
    out->values = load_or_share_floats(out->type, base, static_cast<size_t>(count), bytes.owner);
    return {};
  }
  out->values.resize(static_cast<size_t>(count));
  Shape index(out->shape.size(), 0);
  uint64_t at = 0;  // may wrap temporarily if a dimension of size 1 has an absurd stride
  for (float& element : out->values) {
    element = load_float(out->type, base + static_cast<size_t>(at) * step);
    for (size_t d = index.size(); d-- > 0;) {
      at += static_cast<uint64_t>(strides[d]);
      if (++index[d] < out->shape[d]) break;
      at -= static_cast<uint64_t>(strides[d]) * static_cast<uint64_t>(out->shape[d]);
      index[d] = 0;
    }
  }
  return {};
}

Result<SourceTensors> collect(const Pickle& pickle, const StorageLookup& lookup) {
  SourceTensors out;
  SPARSENET_ASSIGN_OR_RETURN(const PickleValue* weights, choose_weights(pickle, &out.notes));
  const PickleValue* dict = weights;
  for (size_t i = 0; i + 1 < dict->items.size(); i += 2) {
    const PickleValue& key = pickle.at(dict->items[i]);
    const PickleValue& value = pickle.at(dict->items[i + 1]);
    if (key.kind != Kind::kString) continue;
    if (value.kind != Kind::kTensor) {
      out.notes.push_back("'" + printable(key.text) + "' is not a tensor: ignored");
      continue;
    }
    SourceTensor tensor;
    tensor.name = key.text;
    SPARSENET_RETURN_IF_ERROR(check_tensor_count(out.tensors.size() + 1));
    const Status status = within_budget([&] { return read_tensor(pickle, value, lookup, &tensor); });
    if (!status.ok()) return status.with_context("tensor '" + printable(key.text) + "'");
    out.tensors.push_back(std::move(tensor));
  }
  return out;
}

Result<SourceTensors> read_torch_zip(const FileBytes& file) {
  Result<ZipArchive> archive = ZipArchive::open(file.data, file.size);
  if (!archive.ok()) return archive.status();
  std::string folder;
  bool found = false;
  for (const std::string& entry : archive->names()) {
    constexpr const char* kPickle = "data.pkl";
    const size_t length = std::strlen(kPickle);
    if (entry.size() < length || entry.compare(entry.size() - length, length, kPickle) != 0) continue;
    folder = entry.substr(0, entry.size() - length);
    found = true;
    if (archive->contains(folder + "constants.pkl")) {
      return unsupported(
          "this is a TorchScript archive (torch.jit.save): save its weights alone "
          "(torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')), or export the network to ONNX");
    }
    break;
  }
  if (!found) return unsupported("a zip archive without data.pkl is not a file of torch.save");
  if (archive->contains(folder + "byteorder")) {
    SPARSENET_ASSIGN_OR_RETURN(FileBytes order, archive->read(folder + "byteorder"));
    if (std::string(order.data, order.data + order.size) != "little")
      return unsupported("tensors are stored big-endian");
  }
  Result<FileBytes> bytes = archive->read(folder + "data.pkl");
  if (!bytes.ok()) return bytes.status();
  Result<Pickle> pickle = read_pickle(bytes->data, bytes->size);
  if (!pickle.ok()) return pickle.status().with_context("data.pkl");

  std::unordered_map<std::string, FileBytes> storages;  // each is read once, even if tensors share it
  const StorageLookup lookup = [&](const StorageId& id) -> Result<FileBytes> {
    auto known = storages.find(id.key);
    if (known == storages.end()) {
      Result<FileBytes> raw = archive->read(folder + "data/" + id.key);
      if (!raw.ok()) return raw.status();
      known = storages.emplace(id.key, std::move(raw).value()).first;
    }
    uint64_t wanted = 0;
    if (!multiply(static_cast<uint64_t>(id.elements), size_of(id.type), &wanted) || wanted > known->second.size) {
      return invalid_model("storage '" + printable(id.key) + "': expected " + std::to_string(id.elements) + " x " +
                           name(id.type) + ", found " + std::to_string(known->second.size) + " bytes");
    }
    return FileBytes{known->second.data, static_cast<size_t>(wanted), known->second.owner};
  };
  Result<SourceTensors> out = collect(*pickle, lookup);
  if (out.ok()) out->format = "PyTorch (zip)";
  return out;
}

// magic number, protocol version, system information, the object, the list of storage keys: five pickles in a row, then
// for each key the number of elements and the raw elements.
Result<SourceTensors> read_torch_legacy(const FileBytes& file) {
  const uint8_t* const data = file.data;
  const size_t size = file.size;
  size_t at = 0;
  auto next = [&](const char* what) -> Result<Pickle> {
    Result<Pickle> pickle = read_pickle(data + at, size - at);
    if (!pickle.ok()) return pickle.status().with_context(what);
    at += pickle->consumed;
    return pickle;
  };
  Result<Pickle> magic = next("magic number");
  if (!magic.ok()) return magic.status();
  static const char kMagic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  if (magic->at(magic->root).text != std::string(kMagic, 10)) {
    return unsupported("a pickle, but not one of torch.save (its magic number is missing)");
  }
  Result<Pickle> protocol = next("protocol version");
  if (!protocol.ok()) return protocol.status();
  if (protocol->at(protocol->root).integer != 1001) {
    return unsupported("protocol version: expected 1001, found " +
                       std::to_string(protocol->at(protocol->root).integer));
  }
  SPARSENET_ASSIGN_OR_RETURN(Pickle system, next("system information"));
  const PickleValue* little = system.find(system.at(system.root), "little_endian");
  if (little && little->kind == Kind::kBool && little->integer == 0)
    return unsupported("tensors are stored big-endian");
  Result<Pickle> object = next("object");
  if (!object.ok()) return object.status();
  SPARSENET_ASSIGN_OR_RETURN(Pickle keys, next("storage keys"));

  // Raw storages do not state their element size; the storage ids in the object do.
  std::unordered_map<std::string, ElementType> types;
  for (const PickleValue& value : object->values) {
    if (value.kind != Kind::kStorage) continue;
    SPARSENET_ASSIGN_OR_RETURN(StorageId id, parse_storage(*object, value));
    types[id.key] = id.type;
  }
  std::unordered_map<std::string, FileBytes> storages;
  for (uint32_t item : keys.at(keys.root).items) {
    const std::string& key = keys.at(item).text;
    const auto type = types.find(key);
    if (type == types.end()) return invalid_model("storage '" + printable(key) + "' belongs to no tensor");
    if (size - at < 8) return invalid_model("storage '" + printable(key) + "': the file ends before its size");
    const uint64_t elements = load_u64(data + at);
    at += 8;
    uint64_t wanted = 0;
    if (!multiply(elements, size_of(type->second), &wanted) || wanted > size - at) {
      return invalid_model("storage '" + printable(key) + "': expected " + std::to_string(elements) + " x " +
                           name(type->second) + ", found " + std::to_string(size - at) + " bytes");
    }
    // Not shared with the file: some would be unaligned and be copied anyway, and the others would keep the whole file
    // alive.
    storages[key] = {data + at, static_cast<size_t>(wanted), nullptr};
    at += static_cast<size_t>(wanted);
  }
  const StorageLookup lookup = [&](const StorageId& id) -> Result<FileBytes> {
    const auto found = storages.find(id.key);
    if (found == storages.end()) return invalid_model("storage '" + printable(id.key) + "' is not in the file");
    return found->second;
  };
  Result<SourceTensors> out = collect(*object, lookup);
  if (out.ok()) out->format = "PyTorch (before 1.6)";
  return out;
}

}  // namespace

Result<SourceTensors> read_torch(const FileBytes& file) {
  const UseBudget budget = UseBudget::keep_or_make(file.size);
  const uint8_t* const data = file.data;
  const size_t size = file.size;
  if (size >= 4 && std::memcmp(data, "PK\x03\x04", 4) == 0) return read_torch_zip(file);
  if (size >= 2 && data[0] == 0x80) return read_torch_legacy(file);
  if (size >= 262 && std::memcmp(data + 257, "ustar", 5) == 0) {
    return unsupported(
        "the tar format of PyTorch before 0.1.10 is not read: load and save the file with a newer PyTorch");
  }
  return unsupported("not a file of torch.save (neither zip nor pickle)");
}

}  // namespace sparsenet::converter
