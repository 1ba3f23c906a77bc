// Changes single fields of a protobuf message, whatever its type.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>

#include <memory>
#include <string>

#include "fuzz/target.h"

namespace sparsenet::fuzz {

// A message type from a file of descriptors (protoc --descriptor_set_out): the one whose full name ends with the given
// name.
class MessageType {
 public:
  MessageType(const std::string& descriptors, const std::string& ending);
  std::unique_ptr<google::protobuf::Message> make() const;

 private:
  google::protobuf::DescriptorPool pool_;
  mutable google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::Message* prototype_ = nullptr;
};

// Makes one change somewhere in the message or in one below it: a field is set, cleared or copied from elsewhere in the
// message, or an element of a list is added, duplicated, removed or moved.
void mutate_message(Random& random, google::protobuf::Message* message, size_t most);

}  // namespace sparsenet::fuzz
