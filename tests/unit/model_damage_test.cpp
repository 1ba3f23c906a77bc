// Invalid model files. Damage is rejected; files that were modified and given a matching checksum are rejected or read,
// but never cause a crash (also run under the address and undefined behaviour sanitizers).
#include <doctest/doctest.h>
#include <model_generated.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "format/model_format.h"
#include "model_samples.h"
#include "support/random.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;
namespace fb = flatbuffers;

namespace {

// Anything that can be read may be run.
void run_plans(const Model& model) {
  for (const StoredPlan& stored : model.plans) {
    SessionOptions options;
    options.threads = 1;
    options.batch = stored.batch;
    auto session = Session::create(model, options);
    if (!session.ok()) continue;
    for (size_t i = 0; i < session->inputs().size(); ++i) {
      const std::vector<float> ones(static_cast<size_t>(element_count(session->inputs()[i].shape)), 1.f);
      CHECK(session->set_input(i, ones.data(), ones.size()).ok());
    }
    CHECK(session->run().ok());
    for (size_t i = 0; i < session->outputs().size(); ++i) {
      std::vector<float> values(static_cast<size_t>(element_count(session->outputs()[i].shape)));
      CHECK(session->get_output(i, values.data(), values.size()).ok());
    }
  }
}

Model planned(Model model, int64_t batch) {
  auto stored = make_stored_plan(model.graph, "portable-f32", batch);
  REQUIRE_MESSAGE(stored.ok(), stored.status().message());
  model.plans.push_back(std::move(*stored));
  return model;
}

// What an application does first with a model that it has read.
void use(Model* model) {
  (void)model->graph.parameter_count();
  (void)model->graph.macs_per_image();
  double sum = 0;
  for (const Value& value : model->graph.values) {
    if (!value.is_constant || value.constant.bytes() == 0) continue;
    sum += static_cast<const uint8_t*>(value.constant.data)[0];
    sum += static_cast<const uint8_t*>(value.constant.data)[value.constant.bytes() - 1];
  }
  CHECK(sum >= 0);
  (void)serialize_model(*model).ok();
  run_plans(*model);
  (void)model->graph.set_batch(3).ok();
}

// A file with one Add of an input and a constant, every number of which a test may falsify.
struct Craft {
  uint32_t version = 1, min_runtime = 1;
  uint16_t op = static_cast<uint16_t>(Op::kAdd);
  schema::Attrs attrs_type = schema::Attrs::NONE;
  std::function<fb::Offset<void>(fb::FlatBufferBuilder&)> attrs;
  uint8_t input_type = 0, constant_type = 0;
  std::vector<int64_t> input_shape{1, 4}, constant_shape{4};
  uint64_t offset = 0, data_bytes = 16, claimed_data_bytes = 16;
  std::vector<int32_t> node_inputs{0, 1}, node_outputs{2}, graph_inputs{0}, graph_outputs{2};
  std::string names[3] = {"x", "c", "y"};
  std::vector<float> std_dev;
  size_t repeated_labels = 0, repeated_values = 0;
  bool graph = true, quantized = false;
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
  uint64_t structure_bytes = 0;  // in the footer; 0: the true one

  std::vector<uint8_t> bytes() const {
    fb::FlatBufferBuilder b;
    std::vector<fb::Offset<schema::Value>> values;
    values.push_back(schema::CreateValue(b, b.CreateString(names[0]), input_type, b.CreateVector(input_shape)));
    fb::Offset<schema::Quantization> quantization;
    if (quantized) quantization = schema::CreateQuantizationDirect(b, &scales, &zero_points, 0);
    const auto constant_name = b.CreateString(names[1]);
    const auto constant_dims = b.CreateVector(constant_shape);
    values.push_back(schema::CreateValue(b, constant_name, constant_type, constant_dims, true, offset, quantization));
    values.push_back(schema::CreateValue(b, b.CreateString(names[2])));
    for (size_t i = 0; i < repeated_values; ++i) values.push_back(values[2]);
    const auto attrs_offset = attrs ? attrs(b) : fb::Offset<void>();
    const auto node = schema::CreateNode(b, op, b.CreateString("n"), b.CreateVector(node_inputs),
                                         b.CreateVector(node_outputs), attrs_type, attrs_offset);
    const auto nodes = b.CreateVector(&node, 1);
    const auto graph_offset = schema::CreateGraph(b, b.CreateVector(values), nodes, b.CreateVector(graph_inputs),
                                                  b.CreateVector(graph_outputs));
    const std::vector<fb::Offset<fb::String>> labels(repeated_labels, b.CreateString(std::string(1000, 'l')));
    const auto label_list = b.CreateVector(labels);
    const auto std_list = b.CreateVector(std_dev);
    schema::MetadataBuilder metadata(b);
    metadata.add_labels(label_list);
    metadata.add_std_dev(std_list);
    const auto metadata_offset = metadata.Finish();
    const auto producer = b.CreateString("a test");
    schema::FinishModelBuffer(
        b, schema::CreateModel(b, version, min_runtime, producer, metadata_offset,
                               graph ? graph_offset : fb::Offset<schema::Graph>(), {}, claimed_data_bytes));
    std::vector<uint8_t> out(b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize());
    const uint64_t structure = structure_bytes ? structure_bytes : b.GetSize();
    out.resize(static_cast<size_t>(align_up(out.size()) + data_bytes), 0);
    const uint64_t payload = out.size();
    out.resize(out.size() + kFooterBytes);
    std::memcpy(out.data() + payload, kFooterMagic, 8);
    std::memcpy(out.data() + payload + 8, &structure, 8);
    std::memcpy(out.data() + payload + 16, &payload, 8);
    seal(&out);
    return out;
  }
};

void refused(const Craft& craft, const std::string& part, StatusCode code = StatusCode::kInvalidModel) {
  const Status status = load(craft.bytes()).status();
  CAPTURE(status.message());
  CHECK(status.code() == code);
  CHECK(status.message().find("test.snet: ") == 0);
  CHECK(status.message().find('\n') == std::string::npos);
  CHECK(status.message().find(part) != std::string::npos);
}

template <class Change>
Craft crafted(Change change) {
  Craft craft;
  change(craft);
  return craft;
}

}  // namespace

TEST_CASE("every flipped bit is refused") {
  std::vector<uint8_t> bytes;
  SUBCASE("of a model without a plan") {
    bytes = bytes_of(tiny_model());
  }
  SUBCASE("of a model with one") {
    bytes = bytes_of(planned(tiny_model(), 1));
  }
  REQUIRE(load(bytes).ok());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] = static_cast<uint8_t>(bytes[i] ^ (1 << bit));
      const Result<Model> read = load(bytes);
      if (read.ok()) FAIL_CHECK("bit " << bit << " of byte " << i);
      bytes[i] = static_cast<uint8_t>(bytes[i] ^ (1 << bit));
    }
  }
  CHECK(load(bytes).ok());
}

TEST_CASE("every truncation and every addition is refused") {
  const std::vector<uint8_t> bytes = bytes_of(tiny_model());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<uint8_t> start(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    if (load(start).ok()) FAIL_CHECK("the first " << size << " bytes");
    const std::vector<uint8_t> end(bytes.end() - static_cast<std::ptrdiff_t>(size), bytes.end());
    if (load(end).ok()) FAIL_CHECK("the last " << size << " bytes");
  }
  std::vector<uint8_t> longer = bytes;
  for (int i = 0; i < 100; ++i) {
    longer.push_back(0);
    CHECK_FALSE(load(longer).ok());
  }
  CHECK_FALSE(load_model(nullptr, 0, nullptr, "nothing").ok());
  CHECK_FALSE(load_model(nullptr, 1000, nullptr, "nothing").ok());
}

TEST_CASE("damage under a fitting checksum never crashes") {
  int read_count = 0, tried = 0;
  auto try_bytes = [&](std::vector<uint8_t>* bytes) {
    seal(bytes);
    Result<Model> read = load(*bytes);
    ++tried;
    if (!read.ok()) {
      CHECK_FALSE(read.status().message().empty());
      return;
    }
    ++read_count;
    use(&*read);
  };
  auto random_damage = [&](const std::vector<uint8_t>& bytes, uint64_t seed, int rounds) {
    uint64_t structure = 0;
    std::memcpy(&structure, bytes.data() + bytes.size() - 24, 8);
    Random random(seed);
    for (int round = 0; round < rounds; ++round) {
      std::vector<uint8_t> damaged = bytes;
      const int changes = random.integer(1, 4);
      for (int i = 0; i < changes; ++i) {
        const auto at = static_cast<size_t>(random.integer(0, static_cast<int>(structure) - 8));
        switch (random.integer(0, 3)) {
          case 0:
            damaged[at] = static_cast<uint8_t>(random.next());
            break;
          case 1:
            damaged[at] = static_cast<uint8_t>(damaged[at] ^ (1 << random.integer(0, 7)));
            break;
          case 2: {  // a 32-bit number, small or extreme
            const uint32_t choices[] = {
                0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, static_cast<uint32_t>(random.next())};
            std::memcpy(damaged.data() + at / 4 * 4, &choices[random.integer(0, 6)], 4);
            break;
          }
          case 3: {  // one part of the file copied over another
            const auto from = static_cast<size_t>(random.integer(0, static_cast<int>(structure) - 8));
            std::memmove(damaged.data() + at / 4 * 4, damaged.data() + from / 4 * 4, 4);
            break;
          }
        }
      }
      try_bytes(&damaged);
    }
  };
  SUBCASE("each byte of a small model, a few values") {
    const std::vector<uint8_t> bytes = bytes_of(tiny_model());
    for (size_t i = 0; i < bytes.size() - 8; ++i) {
      for (uint8_t value : {uint8_t{0}, uint8_t{1}, uint8_t{0x7F}, uint8_t{0x80}, uint8_t{0xFF}}) {
        std::vector<uint8_t> damaged = bytes;
        damaged[i] = value;
        try_bytes(&damaged);
      }
    }
  }
  SUBCASE("random damage to a model with all ops") {
    random_damage(bytes_of(model_of_all_ops()), 11, scaled_by_effort(4000));
  }
  SUBCASE("random damage to models with a plan, which is run where it is still meaningful") {
    random_damage(bytes_of(planned(model_of_all_ops(), 2)), 13, std::max(300, scaled_by_effort(2000)));
    random_damage(bytes_of(planned(tiny_model(), 1)), 14, std::max(300, scaled_by_effort(4000)));
    CHECK(read_count > 10);
  }
  SUBCASE("each byte of a plan's part of a small model, a few values") {
    Model model = planned(tiny_model(), 1);
    const size_t without = bytes_of(tiny_model()).size();
    const std::vector<uint8_t> bytes = bytes_of(model);
    for (size_t i = 0; i < bytes.size() - without + 200; ++i) {  // what is written last comes first in the file
      for (uint8_t value : {uint8_t{0}, uint8_t{1}, uint8_t{0x7F}, uint8_t{0x80}, uint8_t{0xFF}}) {
        std::vector<uint8_t> damaged = bytes;
        damaged[i] = value;
        try_bytes(&damaged);
      }
    }
    CHECK(read_count < tried);
  }
  SUBCASE("random bytes behind a right beginning and a right footer") {
    Random random(12);
    for (int round = 0; round < 500; ++round) {
      std::vector<uint8_t> damaged = bytes_of(tiny_model());
      const size_t from = 4 * static_cast<size_t>(random.integer(2, 40));
      for (size_t i = from; i + kFooterBytes < damaged.size(); ++i) damaged[i] = static_cast<uint8_t>(random.next());
      try_bytes(&damaged);
    }
    CHECK(read_count < tried);
  }
  MESSAGE(read_count << " of " << tried << " damaged files were still meaningful");
}

TEST_CASE("the crafted file is right before it is made wrong") {
  const Result<Model> read = load(Craft{}.bytes());
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(read->graph.shape(2) == Shape{1, 4});
  CHECK(read->metadata.color_order == "RGB");  // absent fields keep their defaults
  CHECK(read->metadata.resize == "bilinear");
}

TEST_CASE("a file for a newer runtime is told with both versions") {
  refused(crafted([](Craft& c) { c.version = c.min_runtime = 7; }), "format version 7, this one reads up to 5",
          StatusCode::kUnsupported);
  // A newer writer that used no new features writes files for this runtime.
  CHECK(load(crafted([](Craft& c) { c.version = 7; }).bytes()).ok());
  refused(crafted([](Craft& c) { c.version = 0; }), "versions");
  refused(crafted([](Craft& c) { c.min_runtime = 0; }), "versions");
}

TEST_CASE("numbers that make no sense are refused by name") {
  refused(crafted([](Craft& c) { c.op = 0; }), "node 'n': unknown op number 0");
  refused(crafted([](Craft& c) { c.op = 60; }), "unknown op number 60");
  refused(crafted([](Craft& c) { c.op = static_cast<uint16_t>(Op::kAffine); }), "unknown op number 100");
  refused(crafted([](Craft& c) { c.op = static_cast<uint16_t>(Op::kAttention); }), "unknown op number 101");
  refused(crafted([](Craft& c) { c.op = static_cast<uint16_t>(Op::kConv); }), "'n': attributes of another op");
  refused(crafted([](Craft& c) { c.node_inputs = {0, 3}; }), "input value 3 does not exist");
  refused(crafted([](Craft& c) { c.node_inputs = {0, -2}; }), "input value -2 does not exist");
  refused(crafted([](Craft& c) { c.node_inputs = {0, 2}; }), "used before it is made");
  refused(crafted([](Craft& c) { c.node_inputs = {0}; }), "expected 2 to 2 inputs, found 1");
  refused(crafted([](Craft& c) { c.node_outputs = {0}; }), "made twice");
  refused(crafted([](Craft& c) { c.node_outputs = {9}; }), "output value 9 does not exist");
  refused(crafted([](Craft& c) { c.graph_inputs = {5}; }), "graph input 5");
  refused(crafted([](Craft& c) { c.graph_inputs = {}; }), "no input");
  refused(crafted([](Craft& c) { c.graph_outputs = {-1}; }), "graph output -1");
  refused(crafted([](Craft& c) { c.graph_outputs = {}; }), "no output");
  refused(crafted([](Craft& c) { c.names[1] = "x"; }), "two values are named 'x'");
  refused(crafted([](Craft& c) { c.names[1] = ""; }), "no name");
  refused(crafted([](Craft& c) { c.names[0] = "\x1b[31m"; }), "control characters");
  refused(crafted([](Craft& c) { c.names[0] = std::string(2000, 'a'); }), "at most 1024 bytes");
  refused(crafted([](Craft& c) { c.input_type = 9; }), "value 'x': unknown data type 9");
  refused(crafted([](Craft& c) { c.input_shape = {1, 0}; }), "dimensions");
  refused(crafted([](Craft& c) { c.input_shape = {1, -4}; }), "dimensions");
  refused(crafted([](Craft& c) { c.input_shape = {1, int64_t{1} << 31}; }), "dimensions");
  refused(crafted([](Craft& c) { c.input_shape = std::vector<int64_t>(9, 1); }), "at most 8");
  refused(crafted([](Craft& c) { c.input_shape = std::vector<int64_t>(8, INT32_MAX); }), "too large");
  refused(crafted([](Craft& c) { c.constant_shape = {1 << 30, 1 << 30}; }), "too large");
  refused(crafted([](Craft& c) { c.constant_shape = {5}; }), "expected 20 bytes at offset 0, found 16");
  refused(crafted([](Craft& c) { c.offset = 64; }), "expected 16 bytes at offset 64");
  refused(crafted([](Craft& c) { c.offset = ~uint64_t{63}; }), "expected 16 bytes at offset");
  refused(crafted([](Craft& c) { c.offset = 4; }), "64 divides");
  refused(crafted([](Craft& c) { c.claimed_data_bytes = 20; }), "data: expected 20 bytes");
  refused(crafted([](Craft& c) { c.std_dev = {0.f, 1.f}; }), "std");
  refused(crafted([](Craft& c) { c.std_dev = {NAN}; }), "std");
  refused(crafted([](Craft& c) { c.graph = false; }), "no graph");
  refused(crafted([](Craft& c) { c.structure_bytes = 4; }), "structure: expected 12 to");
  refused(crafted([](Craft& c) { c.structure_bytes = uint64_t{1} << 63; }), "structure: expected 12 to");
  refused(crafted([](Craft& c) { c.structure_bytes = ~uint64_t{0}; }), "structure: expected 12 to");
  refused(crafted([](Craft& c) { c.structure_bytes = 40; }), "not a sound FlatBuffer");
}

TEST_CASE("quantisation that makes no sense is refused") {
  const auto with = [](uint8_t type, std::vector<float> scales, std::vector<int32_t> zero_points) {
    Craft craft;
    craft.version = craft.min_runtime = 2;
    craft.quantized = true;
    craft.constant_type = type;
    craft.scales = std::move(scales);
    craft.zero_points = std::move(zero_points);
    return craft;
  };
  const auto int8 = static_cast<uint8_t>(DataType::kInt8);
  CHECK(load(with(int8, {0.5f}, {1}).bytes()).ok());
  CHECK(load(with(int8, {1, 2, 3, 4}, {1, 2, 3, 4}).bytes()).ok());
  refused(with(0, {0.5f}, {1}), "expected a value of int8, uint8 or int32, found float32");
  refused(with(int8, {}, {}), "quantisation without scales");
  refused(with(int8, {1, 2}, {1, 2}), "one for each index of an axis");
  refused(with(int8, {-1.f}, {1}), "positive scales");
  refused(with(int8, {1.f}, {300}), "zero points that its type holds");
}

TEST_CASE("attributes that make no sense are refused by name") {
  auto with = [](Op op, schema::Attrs type, std::function<fb::Offset<void>(fb::FlatBufferBuilder&)> attrs) {
    Craft craft;
    craft.op = static_cast<uint16_t>(op);
    craft.attrs_type = type;
    craft.attrs = std::move(attrs);
    craft.node_inputs = {0};
    return craft;
  };
  using B = fb::FlatBufferBuilder;
  refused(with(Op::kClip, schema::Attrs::ClipAttrs, [](B& b) { return schema::CreateClipAttrs(b, 2.f, 1.f).Union(); }),
          "low <= high");
  refused(with(Op::kSoftmax, schema::Attrs::AxisAttrs, [](B& b) { return schema::CreateAxisAttrs(b, 7).Union(); }),
          "axis");
  refused(with(Op::kReshape, schema::Attrs::ReshapeAttrs,
               [](B& b) { return schema::CreateReshapeAttrs(b, b.CreateVector(std::vector<int64_t>(9, 1))).Union(); }),
          "node 'n': dims: expected at most 8");
  refused(with(Op::kPad, schema::Attrs::PadAttrs,
               [](B& b) {
                 const auto zeros = b.CreateVector(std::vector<int64_t>{0, 0});
                 return schema::CreatePadAttrs(b, zeros, zeros, NAN).Union();
               }),
          "NaN");
  refused(with(Op::kFullyConnected, schema::Attrs::FullyConnectedAttrs,
               [](B& b) {
                 return schema::CreateFullyConnectedAttrs(b, schema::CreateActivation(b, kActivations + 1)).Union();
               }),
          "activation: unknown number");
  refused(
      with(Op::kFullyConnected, schema::Attrs::FullyConnectedAttrs,
           [](B& b) { return schema::CreateFullyConnectedAttrs(b, schema::CreateActivation(b, 2, NAN, 1.f)).Union(); }),
      "unfit parameters");
  refused(with(Op::kRelu, static_cast<schema::Attrs>(77), [](B& b) { return schema::CreateAxisAttrs(b, 7).Union(); }),
          "unknown kind of attributes 77");
  refused(with(Op::kRelu, schema::Attrs::AxisAttrs, [](B& b) { return schema::CreateAxisAttrs(b, 0).Union(); }),
          "attributes of another op");
}

TEST_CASE("a small file does not unfold into a large model") {
  // Many references by themselves, or fewer references to something long.
  for (size_t count : {size_t{100}, size_t{500000}}) {
    refused(crafted([count](Craft& c) { c.repeated_labels = count; }), "again and again");
    refused(crafted([count](Craft& c) {
              c.repeated_values = count;
              c.names[2] = std::string(1000, 'y');
            }),
            "again and again");
  }
}

TEST_CASE("another footer version is not called damage") {
  std::vector<uint8_t> bytes = Craft{}.bytes();
  bytes[bytes.size() - kFooterBytes + 7] = '2';
  seal(&bytes);
  CHECK(load(bytes).status().code() == StatusCode::kUnsupported);
}
