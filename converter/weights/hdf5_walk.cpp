// Walks an HDF5 file with libhdf5. Everything here runs in a child process, which may crash or run out of memory at any
// point: nothing but what was sent before counts.
#include <hdf5.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <set>

#include "converter/report.h"
#include "converter/weights/hdf5_wire.h"

namespace sparsenet::converter {
namespace {

// An identifier that is closed when it goes out of scope.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }  // NOLINT: implicit on purpose; the library's functions take it
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// The library uses the file's bytes where they are. The file is opened for reading alone, so it never changes them.
struct Image {
  void* bytes;
  size_t size;
};
void* image_malloc(size_t /*size*/, H5FD_file_image_op_t /*op*/, void* image) {
  return static_cast<Image*>(image)->bytes;
}
void* image_memcpy(void* to, const void* from, size_t size, H5FD_file_image_op_t /*op*/, void* /*image*/) {
  return to == from ? to : std::memcpy(to, from, size);
}
void* image_realloc(void* /*bytes*/, size_t /*size*/, H5FD_file_image_op_t /*op*/, void* /*image*/) {
  return nullptr;
}
herr_t image_free(void* /*bytes*/, H5FD_file_image_op_t /*op*/, void* /*image*/) {
  return 0;
}
void* image_copy(void* image) {
  return image;
}
herr_t image_release(void* /*image*/) {
  return 0;
}

struct Link {
  std::string name;
  H5L_type_t type = H5L_TYPE_ERROR;
  std::string object;  // its place in the file, for hard links
};

struct Links {
  std::vector<Link> list;
  size_t left = 0;
};

herr_t collect(hid_t /*group*/, const char* name, const H5L_info_t* info, void* to) noexcept {
  auto& links = *static_cast<Links*>(to);
  if (links.left-- == 0) return -1;
#if H5_VERSION_GE(1, 12, 0)
  const void* place = &info->u.token;
  const size_t size = sizeof info->u.token;
#else
  const void* place = &info->u.address;
  const size_t size = sizeof info->u.address;
#endif
  links.list.push_back({name, info->type, std::string(static_cast<const char*>(place), size)});
  return 0;
}

// The innermost of the library's messages about a failure.
herr_t take_message(unsigned /*number*/, const H5E_error2_t* error, void* to) noexcept {
  auto& text = *static_cast<std::string*>(to);
  if (text.empty() && error->desc) text = error->desc;
  return 0;
}
std::string library_message() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_message, &text);
  return text.empty() ? "" : " (" + text + ")";
}

// The formats of IEEE 754, which h5py writes. False for others, such as bfloat16.
bool ieee_type(hid_t type, ElementType* out) {
  struct Row {
    size_t bytes, exponent_bits, mantissa_bits, bias;
    ElementType type;
  };
  static constexpr Row kRows[] = {{2, 5, 10, 15, ElementType::kFloat16},
                                  {4, 8, 23, 127, ElementType::kFloat32},
                                  {8, 11, 52, 1023, ElementType::kFloat64}};
  size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;
  if (H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) < 0) return false;
  const H5T_order_t order = H5Tget_order(type);
  if (order != H5T_ORDER_LE && order != H5T_ORDER_BE) return false;
  for (const Row& row : kRows) {
    const size_t bits = 8 * row.bytes;
    if (H5Tget_size(type) != row.bytes || H5Tget_precision(type) != bits || H5Tget_offset(type) != 0) continue;
    if (sign != bits - 1 || exponent != row.mantissa_bits || exponent_bits != row.exponent_bits) continue;
    if (mantissa != 0 || mantissa_bits != row.mantissa_bits || H5Tget_ebias(type) != row.bias) continue;
    if (H5Tget_norm(type) != H5T_NORM_IMPLIED) continue;
    *out = row.type;
    return true;
  }
  return false;
}

bool integer_type(hid_t type, ElementType* out) {
  const bool has_sign = H5Tget_sign(type) != H5T_SGN_NONE;
  switch (H5Tget_size(type)) {
    case 1:
      *out = has_sign ? ElementType::kInt8 : ElementType::kUInt8;
      return true;
    case 2:
      *out = has_sign ? ElementType::kInt16 : ElementType::kUInt16;
      return true;
    case 4:
      *out = has_sign ? ElementType::kInt32 : ElementType::kUInt32;
      return true;
    case 8:
      *out = has_sign ? ElementType::kInt64 : ElementType::kUInt64;
      return true;
    default:
      return false;
  }
}

const char* class_name(H5T_class_t type_class) {
  switch (type_class) {
    case H5T_STRING:
      return "texts";
    case H5T_COMPOUND:
      return "records";
    case H5T_OPAQUE:
      return "elements of an unknown type (bfloat16?)";
    case H5T_VLEN:
      return "lists";
    case H5T_FLOAT:
      return "floats of another form";
    default:
      return "something else";
  }
}

class Walker {
 public:
  Walker(const Hdf5Wanted& wanted, uint64_t most_bytes, ChildOutput* output)
      : wanted_(wanted), most_bytes_(most_bytes), output_(*output) {}

  void run(const FileBytes& file) {
    // The library prints nothing and loads no code for filters of its own accord.
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);
    const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    // Without const, because the library's interface has none.
    Image image{const_cast<uint8_t*>(file.data), file.size};
    H5FD_file_image_callbacks_t callbacks{image_malloc, image_memcpy,  image_realloc, image_free,
                                          image_copy,   image_release, &image};
    const bool prepared = access.ok() && H5Pset_fapl_core(access, size_t{1} << 16, false) >= 0 &&
                          H5Pset_file_image_callbacks(access, &callbacks) >= 0 &&
                          H5Pset_file_image(access, image.bytes, image.size) >= 0;
    if (!prepared) refuse("", "libhdf5 cannot read files in memory" + library_message());
    const Id opened(H5Fopen("a file in memory", H5F_ACC_RDONLY, access), H5Fclose);
    if (!opened.ok()) refuse("", "damaged HDF5 file" + library_message());
    const Id root(H5Gopen2(opened, "/", H5P_DEFAULT), H5Gclose);
    if (!root.ok()) refuse("", "damaged HDF5 file" + library_message());
    group(root, "", 0);
    number(static_cast<uint64_t>(RecordKind::kEnd));
    output_.flush();
    ::_exit(0);  // closing a damaged file may crash, too, and nothing is left to do
  }

 private:
  void number(uint64_t value) { output_.write(&value, sizeof value); }
  void text(const std::string& value) {
    number(value.size());
    output_.write(value.data(), value.size());
  }

  [[noreturn]] void refuse(const std::string& subject, const std::string& reason) {
    number(static_cast<uint64_t>(RecordKind::kRefused));
    text(subject.substr(0, kMaxHdf5Path));
    text(reason.substr(0, kMaxHdf5Path));
    output_.flush();
    ::_exit(0);
  }

  void group(hid_t id, const std::string& path, size_t depth) {
    constexpr size_t kMaxDepth = 32;
    const std::string subject = "group '" + path + "'";
    if (depth > kMaxDepth)
      refuse(subject, "expected groups at most " + std::to_string(kMaxDepth) + " deep, found more");
    attributes(id, path);
    Links links;
    links.left = links_left_;
    if (H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect, &links) < 0) {
      refuse(subject, "damaged, or more than " + std::to_string(kMaxLinks) + " objects" + library_message());
    }
    links_left_ -= links.list.size();
    for (const Link& link : links.list) {
      const std::string inner = path.empty() ? link.name : path + "/" + link.name;
      if (inner.size() > kMaxHdf5Path) refuse(subject, "a name in it is too long");
      bool skipped = false;
      for (const std::string& skip : wanted_.skipped_groups) skipped = skipped || inner == skip;
      if (!skipped) follow(id, link, inner, depth);
    }
  }

  void follow(hid_t parent, const Link& link, const std::string& path, size_t depth) {
    if (link.type != H5L_TYPE_HARD) {
      const char* kind = link.type == H5L_TYPE_SOFT       ? "a soft link"
                         : link.type == H5L_TYPE_EXTERNAL ? "a link to another file"
                                                          : "a link of an unknown kind";
      refuse("'" + path + "'", std::string("is ") + kind + ", which is not followed: save the weights again");
    }
    if (!seen_.insert(link.object).second) {
      refuse("'" + path + "'",
             "is also in another place of the file, which Keras does not write: save the weights again");
    }
    const Id object(H5Oopen(parent, link.name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.ok()) refuse("'" + path + "'", "damaged" + library_message());
    switch (H5Iget_type(object)) {
      case H5I_GROUP:
        return group(object, path, depth + 1);
      case H5I_DATASET:
        return dataset(object, path);
      default:
        return;  // a named type holds no weights
    }
  }

  void attributes(hid_t group, const std::string& path) {
    for (const std::string& name : wanted_.attributes) attribute(group, path, name);
    for (const std::string& name : wanted_.attribute_series) {
      constexpr int kMostParts = 4096;
      for (int i = 0; i < kMostParts && attribute(group, path, name + std::to_string(i)); ++i) {
      }
    }
  }

  // False: the group does not have it.
  bool attribute(hid_t group, const std::string& path, const std::string& name) {
    if (H5Aexists(group, name.c_str()) <= 0) return false;
    const std::string subject = "attribute '" + name + "' of group '" + path + "'";
    const Id id(H5Aopen(group, name.c_str(), H5P_DEFAULT), H5Aclose);
    const Id type(id.ok() ? H5Aget_type(id) : -1, H5Tclose), space(id.ok() ? H5Aget_space(id) : -1, H5Sclose);
    if (!type.ok() || !space.ok()) refuse(subject, "damaged" + library_message());
    if (H5Tget_class(type) != H5T_STRING) return true;  // an empty list is one of numbers
    const hssize_t points = H5Sget_simple_extent_npoints(space);
    if (points < 0 || static_cast<uint64_t>(points) > kMaxHdf5Texts) refuse(subject, "too many texts");
    const std::vector<std::string> texts = H5Tis_variable_str(type) > 0
                                               ? variable_texts(id, type, static_cast<size_t>(points), subject)
                                               : fixed_texts(id, type, static_cast<size_t>(points), subject);
    number(static_cast<uint64_t>(RecordKind::kAttribute));
    text(path);
    text(name);
    number(texts.size());
    for (const std::string& one : texts) text(one);
    return true;
  }

  std::vector<std::string> variable_texts(hid_t id, hid_t type, size_t count, const std::string& subject) {
    std::vector<char*> pointers(count, nullptr);
    if (H5Aread(id, type, pointers.data()) < 0) refuse(subject, "damaged" + library_message());
    std::vector<std::string> texts;
    for (const char* pointer : pointers) texts.emplace_back(pointer ? pointer : "");
    for (const std::string& one : texts) {
      if (one.size() > kMaxHdf5Text) refuse(subject, "too long");
    }
    return texts;
  }

  // Shorter texts are filled up with zeros.
  std::vector<std::string> fixed_texts(hid_t id, hid_t type, size_t count, const std::string& subject) {
    const size_t length = H5Tget_size(type);
    if (length == 0 || length > kMaxHdf5Text / (count + 1)) refuse(subject, "too long");
    std::string all(length * count, '\0');
    if (H5Aread(id, type, all.data()) < 0) refuse(subject, "damaged" + library_message());
    std::vector<std::string> texts;
    for (size_t i = 0; i < count; ++i) texts.emplace_back(all.substr(i * length, length).c_str());
    return texts;
  }

  void dataset(hid_t id, const std::string& path) {
    const std::string subject = "dataset '" + path + "'";
    const Id type(H5Dget_type(id), H5Tclose), space(H5Dget_space(id), H5Sclose),
        layout(H5Dget_create_plist(id), H5Pclose);
    if (!type.ok() || !space.ok() || !layout.ok()) refuse(subject, "damaged" + library_message());
    ElementType element = ElementType::kFloat32;
    const H5T_class_t type_class = H5Tget_class(type);
    const bool known = type_class == H5T_FLOAT     ? ieee_type(type, &element)
                       : type_class == H5T_INTEGER ? integer_type(type, &element)
                                                   : type_class == H5T_ENUM;
    if (type_class == H5T_ENUM) element = ElementType::kBool;  // as h5py writes them
    if (!known) {
      refuse(subject, std::string("expected float32, float16, float64 or integers, found ") + class_name(type_class));
    }
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank < 0 || static_cast<uint64_t>(rank) > kMaxHdf5Rank || H5Sget_simple_extent_type(space) == H5S_NULL) {
      refuse(subject, "expected at most " + std::to_string(kMaxHdf5Rank) + " dimensions, found another form");
    }
    hsize_t dimensions[kMaxHdf5Rank] = {};
    if (rank > 0 && H5Sget_simple_extent_dims(space, dimensions, nullptr) < 0) refuse(subject, "damaged");
    number(static_cast<uint64_t>(RecordKind::kDataset));
    text(path);
    number(static_cast<uint64_t>(element));
    number(static_cast<uint64_t>(rank));
    for (int i = 0; i < rank; ++i) number(dimensions[i]);
    if (!is_float(element)) return;
    output_.flush();  // so that the converter can refuse the size before this process allocates
    check_storage(layout, subject);
    uint64_t bytes = size_of(element);
    for (int i = 0; i < rank; ++i) {
      if (!multiply(bytes, dimensions[i], &bytes)) refuse(subject, "too large");
    }
    elements(id, type, bytes, subject);
  }

  void check_storage(hid_t layout, const std::string& subject) {
    if (H5Pget_external_count(layout) != 0) refuse(subject, "its elements are in another file, which is not read");
    const H5D_layout_t form = H5Pget_layout(layout);
    if (form != H5D_COMPACT && form != H5D_CONTIGUOUS && form != H5D_CHUNKED) {
      refuse(subject, "its elements are in other datasets (a virtual dataset), which is not supported");
    }
    const int filters = form == H5D_CHUNKED ? H5Pget_nfilters(layout) : 0;
    if (filters < 0) refuse(subject, "damaged" + library_message());
    for (int i = 0; i < filters; ++i) {
      unsigned flags = 0, configuration = 0;
      size_t values = 0;
      const H5Z_filter_t filter =
          H5Pget_filter2(layout, static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &configuration);
      if (filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_FLETCHER32) continue;
      refuse(subject, "expected gzip, shuffle and checksums, found the filter " + std::to_string(filter) +
                          ": save the weights without it");
    }
  }

  void elements(hid_t id, hid_t type, uint64_t bytes, const std::string& subject) {
    void* buffer = bytes <= most_bytes_ ? std::malloc(static_cast<size_t>(bytes) + 1) : nullptr;
    const Id memory(H5Tcopy(type), H5Tclose);
    if (!buffer || !memory.ok() || H5Tset_order(memory, H5T_ORDER_LE) < 0) {
      refuse(subject, "not enough memory for its " + std::to_string(bytes) + " bytes");
    }
    if (bytes > 0 && H5Dread(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer) < 0) {
      refuse(subject, "its elements cannot be read" + library_message());
    }
    number(static_cast<uint64_t>(RecordKind::kElements));
    output_.write(buffer, static_cast<size_t>(bytes));
    output_.flush();
    std::free(buffer);
  }

  static constexpr size_t kMaxLinks = size_t{1} << 18;

  const Hdf5Wanted& wanted_;
  const uint64_t most_bytes_;
  ChildOutput& output_;
  size_t links_left_ = kMaxLinks;
  std::set<std::string> seen_;
};

}  // namespace

void walk_hdf5(const FileBytes& file, const Hdf5Wanted& wanted, uint64_t most_bytes, ChildOutput* output) {
  Walker(wanted, most_bytes, output).run(file);
}

}  // namespace sparsenet::converter
