#include "fuzz/mutate_protobuf.h"

#include <google/protobuf/descriptor.pb.h>

#include <cstdlib>
#include <fstream>

#include "fuzz/mutate_flatbuffer.h"

namespace sparsenet::fuzz {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Every message of the tree and every string in it.
struct Tree {
  std::vector<Message*> messages;
  std::vector<std::string> strings;
};

void collect(Message* message, Tree* tree, int depth) {
  constexpr int kMostDepth = 12;
  constexpr size_t kMostMessages = 4096;
  if (depth > kMostDepth || tree->messages.size() > kMostMessages) return;
  tree->messages.push_back(message);
  const Reflection* reflection = message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int count = field->is_repeated() ? reflection->FieldSize(*message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        collect(field->is_repeated() ? reflection->MutableRepeatedMessage(message, field, i)
                                     : reflection->MutableMessage(message, field),
                tree, depth + 1);
      } else if (field->type() == FieldDescriptor::TYPE_STRING || field->name() == "s") {
        tree->strings.push_back(field->is_repeated() ? reflection->GetRepeatedString(*message, field, i)
                                                     : reflection->GetString(*message, field));
      }
    }
  }
}

template <class T>
T changed(Random& random, T value) {
  mutate_number(random, reinterpret_cast<uint8_t*>(&value), sizeof value, std::is_floating_point_v<T>);
  return value;
}

std::string changed_string(Random& random, const Tree& tree, const std::string& old, size_t most) {
  if (!tree.strings.empty() && random.one_in(2)) return tree.strings[random.below(tree.strings.size())];
  Bytes bytes(old.begin(), old.end());
  mutate_bytes(bytes, old.size() + (most > old.size() ? std::min<size_t>(most - old.size(), 64) : 0));
  return std::string(bytes.begin(), bytes.end());
}

// Gives an element of a list (or, with index -1, a field) a new value; a message is replaced by a copy of another of
// its type.
void change_value(Random& random, const Tree& tree, Message* message, const FieldDescriptor* field, int index,
                  size_t most) {
  const Reflection* r = message->GetReflection();
  const bool list = index >= 0;
  switch (field->cpp_type()) {
#define SPARSENET_NUMBER(TYPE, Name, type)                                                       \
  case FieldDescriptor::CPPTYPE_##TYPE:                                                          \
    if (list) {                                                                                  \
      r->SetRepeated##Name(message, field, index,                                                \
                           changed<type>(random, r->GetRepeated##Name(*message, field, index))); \
    } else {                                                                                     \
      r->Set##Name(message, field, changed<type>(random, r->Get##Name(*message, field)));        \
    }                                                                                            \
    break;
    SPARSENET_NUMBER(INT32, Int32, int32_t)
    SPARSENET_NUMBER(INT64, Int64, int64_t)
    SPARSENET_NUMBER(UINT32, UInt32, uint32_t)
    SPARSENET_NUMBER(UINT64, UInt64, uint64_t)
    SPARSENET_NUMBER(FLOAT, Float, float)
    SPARSENET_NUMBER(DOUBLE, Double, double)
#undef SPARSENET_NUMBER
    case FieldDescriptor::CPPTYPE_BOOL:
      if (list) {
        r->SetRepeatedBool(message, field, index, random.one_in(2));
      } else {
        r->SetBool(message, field, random.one_in(2));
      }
      break;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* values = field->enum_type();
      const auto* chosen = values->value(static_cast<int>(random.below(static_cast<size_t>(values->value_count()))));
      if (list) {
        r->SetRepeatedEnum(message, field, index, chosen);
      } else {
        r->SetEnum(message, field, chosen);
      }
      break;
    }
    case FieldDescriptor::CPPTYPE_STRING:
      if (list) {
        r->SetRepeatedString(message, field, index,
                             changed_string(random, tree, r->GetRepeatedString(*message, field, index), most));
      } else {
        r->SetString(message, field, changed_string(random, tree, r->GetString(*message, field), most));
      }
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      // Copied first: setting the field may delete the source, which may contain the field or share a oneof with it.
      std::unique_ptr<Message> copy;
      for (int tries = 0; tries < 16 && copy == nullptr; ++tries) {
        const Message* from = tree.messages[random.below(tree.messages.size())];
        if (from->GetDescriptor() != field->message_type() || from->ByteSizeLong() > most) continue;
        copy.reset(from->New());
        copy->CopyFrom(*from);
      }
      Message* to = list ? r->MutableRepeatedMessage(message, field, index) : r->MutableMessage(message, field);
      if (copy != nullptr) to->CopyFrom(*copy);
      break;
    }
  }
}

// Adds an element similar to another one.
void add_element(Random& random, const Tree& tree, Message* message, const FieldDescriptor* field, size_t most) {
  const Reflection* r = message->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      r->AddInt32(message, field, 1);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      r->AddInt64(message, field, 1);
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      r->AddUInt32(message, field, 1);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      r->AddUInt64(message, field, 1);
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      r->AddFloat(message, field, 1);
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      r->AddDouble(message, field, 1);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      r->AddBool(message, field, true);
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      r->AddEnum(message, field, field->enum_type()->value(0));
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      r->AddString(message, field, "");
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      r->AddMessage(message, field);
      break;
  }
  const int last = r->FieldSize(*message, field) - 1;
  change_value(random, tree, message, field, last, most);
  r->SwapElements(message, field, last, static_cast<int>(random.below(static_cast<size_t>(last) + 1)));
}

}  // namespace

MessageType::MessageType(const std::string& descriptors, const std::string& ending) {
  google::protobuf::SetLogHandler(nullptr);  // about strings that are not UTF-8
  std::ifstream stream(descriptors, std::ios::binary);
  google::protobuf::FileDescriptorSet set;
  if (!set.ParseFromIstream(&stream)) std::abort();
  for (const auto& file : set.file()) {
    const auto* built = pool_.BuildFile(file);
    for (int i = 0; built != nullptr && i < built->message_type_count(); ++i) {
      const std::string name = "." + built->message_type(i)->full_name();
      if (name.size() >= ending.size() && name.substr(name.size() - ending.size()) == ending)
        prototype_ = factory_.GetPrototype(built->message_type(i));
    }
  }
  if (prototype_ == nullptr) std::abort();
}

std::unique_ptr<Message> MessageType::make() const {
  return std::unique_ptr<Message>(prototype_->New());
}

void mutate_message(Random& random, Message* root, size_t most) {
  Tree tree;
  collect(root, &tree, 0);
  const size_t used = root->ByteSizeLong(), room = most > used ? most - used : 0;
  Message* message = tree.messages[random.below(tree.messages.size())];
  const Reflection* reflection = message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  // Mostly fields that are set; occasionally others.
  const Descriptor* descriptor = message->GetDescriptor();
  if (descriptor->field_count() == 0) return;
  const FieldDescriptor* field =
      fields.empty() || random.one_in(4)
          ? descriptor->field(static_cast<int>(random.below(static_cast<size_t>(descriptor->field_count()))))
          : fields[random.below(fields.size())];
  if (!field->is_repeated()) {
    if (random.one_in(8)) return reflection->ClearField(message, field);
    return change_value(random, tree, message, field, -1, room);
  }
  const auto count = static_cast<size_t>(reflection->FieldSize(*message, field));
  const size_t what = random.below(8);
  if (count == 0 || (what == 0 && room > 64)) return add_element(random, tree, message, field, room);
  const auto index = static_cast<int>(random.below(count)), other = static_cast<int>(random.below(count));
  if (what == 1) return reflection->SwapElements(message, field, index, other);
  if (what == 2) {
    reflection->SwapElements(message, field, index, static_cast<int>(count) - 1);
    return reflection->RemoveLast(message, field);
  }
  change_value(random, tree, message, field, index, room);
}

}  // namespace sparsenet::fuzz
