#include "fuzz/mutate_flatbuffer.h"

#include <flatbuffers/reflection.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

namespace sparsenet::fuzz {
namespace {

using flatbuffers::Table;
using flatbuffers::uoffset_t;
using flatbuffers::VectorOfAny;
using flatbuffers::voffset_t;
namespace rf = reflection;

size_t size_of(rf::BaseType type) {
  return flatbuffers::GetTypeSize(type);
}

bool is_real(rf::BaseType type) {
  return type == rf::Float || type == rf::Double;
}

bool is_number(rf::BaseType type) {
  return type <= rf::Double && type != rf::None;
}

// What can be changed in a buffer. All pointers point into it.
struct Places {
  struct Number {
    uint8_t* at;
    size_t size;
    bool real;
  };
  struct Reference {  // a forward offset at `at`; `kind` says what it may refer to
    uint8_t* at;
    int kind;
    const uint8_t* target() const { return at + flatbuffers::ReadScalar<uoffset_t>(at); }
  };
  struct List {
    uint8_t* at;  // points to its length, which precedes the elements
    size_t element;
    rf::BaseType type;
  };
  std::vector<Number> numbers;
  std::vector<Reference> references;
  std::vector<List> lists;
  std::vector<uint8_t*> fields;  // vtable entries that are set
  bool growable = true;          // false: it contains a union of unknown type, which flatbuffers cannot traverse
};

class Walk {
 public:
  Walk(const rf::Schema& schema, Places* places) : schema_(schema), places_(places) {}

  void table(const rf::Object& object, const Table& table) {
    if (!seen_.insert(reinterpret_cast<const uint8_t*>(&table)).second) return;
    auto* start = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(&table));
    uint8_t* vtable = start - flatbuffers::ReadScalar<flatbuffers::soffset_t>(start);
    for (const rf::Field* field : *object.fields()) {
      auto* at = const_cast<uint8_t*>(table.GetAddressOf(field->offset()));
      if (at == nullptr) continue;
      places_->fields.push_back(vtable + field->offset());
      value(object, table, *field, at);
    }
  }

 private:
  // The kind of a reference's target: by object, or by type of element.
  static int kind_of(const rf::Type& type) {
    if (type.base_type() == rf::Obj) return type.index();
    if (type.base_type() == rf::String) return -1;
    return -1000 - 100000 * static_cast<int>(type.element()) - type.index() - 2;
  }

  const rf::Object& object_of(int index) const { return *schema_.objects()->Get(static_cast<uoffset_t>(index)); }

  void value(const rf::Object& parent, const Table& parent_table, const rf::Field& field, uint8_t* at) {
    const rf::Type& type = *field.type();
    if (is_number(type.base_type())) {
      places_->numbers.push_back({at, size_of(type.base_type()), is_real(type.base_type())});
    } else if (type.base_type() == rf::Obj && object_of(type.index()).is_struct()) {
      structure(object_of(type.index()), at);
    } else if (type.base_type() == rf::Union) {
      if (!union_is_known(parent, field, parent_table)) {
        places_->growable = false;
        return;
      }
      table(flatbuffers::GetUnionType(schema_, parent, field, parent_table), target<Table>(at));
    } else {
      reference(type, at);
    }
  }

  bool union_is_known(const rf::Object& parent, const rf::Field& field, const Table& parent_table) const {
    const rf::Field* kind = parent.fields()->LookupByKey((field.name()->str() + "_type").c_str());
    if (kind == nullptr) return false;
    const uint8_t value = parent_table.GetField<uint8_t>(kind->offset(), 0);
    const rf::Enum* names = schema_.enums()->Get(static_cast<uoffset_t>(field.type()->index()));
    const rf::EnumVal* member = names->values()->LookupByKey(value);
    return value != 0 && member != nullptr;
  }

  template <class T>
  static const T& target(const uint8_t* at) {
    return *reinterpret_cast<const T*>(at + flatbuffers::ReadScalar<uoffset_t>(at));
  }

  void structure(const rf::Object& object, uint8_t* at) {
    for (const rf::Field* field : *object.fields()) {
      const rf::BaseType type = field->type()->base_type();
      if (is_number(type)) places_->numbers.push_back({at + field->offset(), size_of(type), is_real(type)});
    }
  }

  void reference(const rf::Type& type, uint8_t* at) {
    places_->references.push_back({at, kind_of(type)});
    if (type.base_type() == rf::Obj) return table(object_of(type.index()), target<Table>(at));
    auto* list = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(&target<VectorOfAny>(at)));
    if (!seen_.insert(list).second) return;
    if (type.base_type() == rf::String) return places_->lists.push_back({list, 1, rf::UByte});
    if (type.base_type() != rf::Vector) return;
    const rf::BaseType element = type.element();
    const bool structs = element == rf::Obj && object_of(type.index()).is_struct();
    const size_t size = structs ? static_cast<size_t>(object_of(type.index()).bytesize()) : size_of(element);
    places_->lists.push_back({list, size, element});
    uint8_t* first = list + sizeof(uoffset_t);
    // Long lists of numbers are weights: some of their elements are enough.
    const size_t length = flatbuffers::ReadScalar<uoffset_t>(list);
    for (size_t i = 0; i < length; ++i) {
      uint8_t* item = first + i * size;
      if (is_number(element) && i < 64) places_->numbers.push_back({item, size, is_real(element)});
      if (structs) structure(object_of(type.index()), item);
      if (element == rf::String) string_item(item);
      if (element == rf::Obj && !structs) {
        places_->references.push_back({item, type.index()});
        table(object_of(type.index()), target<Table>(item));
      }
    }
  }

  void string_item(uint8_t* item) {
    places_->references.push_back({item, -1});
    auto* text = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(&target<VectorOfAny>(item)));
    if (seen_.insert(text).second) places_->lists.push_back({text, 1, rf::UByte});
  }

  const rf::Schema& schema_;
  Places* places_;
  std::set<const uint8_t*> seen_;
};

template <class T>
const T& pick(Random& random, const std::vector<T>& list) {
  return list[random.below(list.size())];
}

// Points a reference to another target of its kind, which has to lie after it.
void redirect(Random& random, const Places& places) {
  const Places::Reference& from = pick(random, places.references);
  for (int tries = 0; tries < 16; ++tries) {
    const Places::Reference& other = pick(random, places.references);
    if (other.kind != from.kind || other.target() <= from.at) continue;
    flatbuffers::WriteScalar(from.at, static_cast<uoffset_t>(other.target() - from.at));
    return;
  }
}

void change_content(Random& random, const Places::List& list, const Places& places) {
  const auto length = flatbuffers::ReadScalar<uoffset_t>(list.at);
  if (length == 0 || list.type == rf::Obj || list.type == rf::String) return redirect(random, places);
  const size_t size = std::min<size_t>(length * list.element, 64);
  Bytes content(list.at + sizeof(uoffset_t), list.at + sizeof(uoffset_t) + size);
  mutate_bytes(content, size);
  std::copy(content.begin(), content.end(), list.at + sizeof(uoffset_t));
}

}  // namespace

void mutate_number(Random& random, uint8_t* at, size_t size, bool real) {
  uint64_t value = 0;
  std::memcpy(&value, at, size);
  if (real && size == 4 && !random.one_in(4)) {
    static const float kValues[] = {0.f,
                                    -0.f,
                                    1.f,
                                    -1.f,
                                    1e-41f,
                                    1e-30f,
                                    3.4e38f,
                                    -3.4e38f,
                                    1e-45f,
                                    0.5f,
                                    6.f,
                                    127.f,
                                    1e10f,
                                    std::numeric_limits<float>::infinity(),
                                    -std::numeric_limits<float>::infinity(),
                                    std::numeric_limits<float>::quiet_NaN()};
    const float chosen = kValues[random.below(std::size(kValues))];
    std::memcpy(at, &chosen, size);
    return;
  }
  switch (random.below(6)) {
    case 0:
    case 1:
      value += random.below(9) - 4;
      break;
    case 2:
      value = uint64_t{1} << random.below(8 * size);
      break;
    case 3:
      value = (uint64_t{1} << random.below(8 * size)) - 1;
      break;
    case 4:
      value = random.below(20);
      break;
    default:
      value = random.one_in(2) ? ~value : random.next();
  }
  std::memcpy(at, &value, size);
}

FlatBufferMutator::FlatBufferMutator(const std::string& schema, bool (*is_sound)(flatbuffers::Verifier&))
    : is_sound_(is_sound) {
  std::ifstream stream(schema, std::ios::binary);
  schema_.assign(std::istreambuf_iterator<char>(stream), {});
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(schema_.data()), schema_.size());
  if (!rf::VerifySchemaBuffer(verifier)) std::abort();
}

bool FlatBufferMutator::mutate(Random& random, Bytes& buffer, size_t most) const {
  const rf::Schema& schema = *rf::GetSchema(schema_.data());
  flatbuffers::Verifier verifier(buffer.data(), buffer.size());
  if (buffer.size() < 8 || !is_sound_(verifier)) return false;
  Places places;
  Walk(schema, &places).table(*schema.root_table(), *flatbuffers::GetAnyRoot(buffer.data()));
  if (places.references.empty() || places.lists.empty() || places.numbers.empty()) return false;
  switch (random.below(12)) {
    case 0:
      redirect(random, places);
      break;
    case 1: {  // a shorter list
      uint8_t* at = pick(random, places.lists).at;
      flatbuffers::WriteScalar(at, static_cast<uoffset_t>(random.below(flatbuffers::ReadScalar<uoffset_t>(at) + 1)));
      break;
    }
    case 2: {  // a longer list, filled with existing elements
      const Places::List list = pick(random, places.lists);
      const auto length = flatbuffers::ReadScalar<uoffset_t>(list.at);
      const size_t more = 1 + random.below(random.one_in(8) ? 200 : 4);
      if (length == 0 || !places.growable || buffer.size() + more * list.element + 64 > most) break;
      const auto at = static_cast<size_t>(list.at - buffer.data()) + sizeof(uoffset_t);
      flatbuffers::ResizeAnyVector(schema, static_cast<uoffset_t>(length + more),
                                   reinterpret_cast<const VectorOfAny*>(list.at), length,
                                   static_cast<uoffset_t>(list.element), &buffer);
      uint8_t* first = buffer.data() + at;
      for (size_t i = length; i < length + more; ++i) {
        const size_t source = random.below(length);
        uint8_t* item = first + i * list.element;
        if (list.type == rf::Obj || list.type == rf::String) {
          if (list.element != sizeof(uoffset_t)) {
            std::memcpy(item, first + source * list.element, list.element);
            continue;
          }
          const uint8_t* to = first + source * list.element;
          to += flatbuffers::ReadScalar<uoffset_t>(to);
          flatbuffers::WriteScalar(item, static_cast<uoffset_t>(to - item));
        } else {
          std::memcpy(item, first + source * list.element, list.element);
        }
      }
      break;
    }
    case 3:  // a field that is not set
      flatbuffers::WriteScalar(pick(random, places.fields), voffset_t{0});
      break;
    case 4:
    case 5:
      change_content(random, pick(random, places.lists), places);
      break;
    default: {
      const size_t changes = random.one_in(4) ? 1 + random.below(4) : 1;
      for (size_t i = 0; i < changes; ++i) {
        const Places::Number& number = pick(random, places.numbers);
        const Places::Number& other = pick(random, places.numbers);
        if (random.one_in(8) && other.size == number.size) {
          std::memmove(number.at, other.at, number.size);
        } else {
          mutate_number(random, number.at, number.size, number.real);
        }
      }
    }
  }
  return true;
}

}  // namespace sparsenet::fuzz
