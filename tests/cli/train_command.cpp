#include "train_command.h"

#include <doctest/doctest.h>
#include <sparsenet/model.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "data/npy.h"

namespace sparsenet::test {

namespace fs = std::filesystem;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Tensor random_tensor(const Shape& shape, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& value : values) value = scale * (static_cast<float>(random() >> 8) / float{1 << 23} - 1.0f);
  return Tensor::from(shape, std::move(values));
}

const std::string& tiny_model() {
  static const std::string path = [] {
    Model model;
    Graph& g = model.graph;
    const ValueId x = g.add_input("input", {1, 3, kSide, kSide});
    ConvAttrs conv;
    conv.kernel = {3, 3};
    conv.pads = {1, 1, 1, 1};
    ValueId v = g.add_node(Op::kConv, "conv",
                           {x, g.add_constant("conv.weight", random_tensor({8, 3, 3, 3}, 0.3f, 1)),
                            g.add_constant("conv.bias", Tensor::filled({8}, 0))},
                           conv);
    v = g.add_node(
        Op::kBatchNorm, "bn",
        {v, g.add_constant("bn.weight", Tensor::filled({8}, 1)), g.add_constant("bn.bias", Tensor::filled({8}, 0)),
         g.add_constant("bn.running_mean", Tensor::filled({8}, 0)),
         g.add_constant("bn.running_var", Tensor::filled({8}, 1))},
        BatchNormAttrs{});
    v = g.add_node(Op::kRelu, "relu", {v});
    v = g.add_node(Op::kGlobalAveragePool, "pool", {v});
    v = g.add_node(Op::kReshape, "flatten", {v}, ReshapeAttrs{{0, -1}});
    v = g.add_node(Op::kFullyConnected, "fc",
                   {v, g.add_constant("fc.weight", random_tensor({3, 8}, 0.3f, 2)),
                    g.add_constant("fc.bias", Tensor::filled({3}, 0))},
                   FullyConnectedAttrs{}, "logits");
    g.outputs = {v};
    const Status shapes = g.infer_shapes();
    REQUIRE_MESSAGE(shapes.ok(), shapes.message());
    model.metadata.name = "tiny";
    model.metadata.provenance = "made by a test";
    model.metadata.license = "CC0-1.0";
    model.metadata.labels = {"low", "middle", "high"};
    const Status saved = save_model(model, scratch("tiny.snet"));
    REQUIRE_MESSAGE(saved.ok(), saved.message());
    return scratch("tiny.snet");
  }();
  return path;
}

void write_labels(const std::string& path, const std::vector<int>& labels) {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(labels.size()) + ",)}\n";
  std::ofstream file(path, std::ios::binary);
  file << std::string("\x93NUMPY\x01\0", 8) << static_cast<char>(header.size()) << '\0' << header;
  for (const int label : labels) file << static_cast<char>(label);
}

const std::string& tiny_data() {
  static const std::string data = [] {
    std::vector<float> images;
    std::vector<int> labels;
    std::mt19937 random(3);
    for (int i = 0; i < kImages; ++i) {
      labels.push_back(i % 3);
      for (int c = 0; c < 3; ++c) {
        for (int p = 0; p < kSide * kSide; ++p) {
          const float noise = static_cast<float>(random() >> 8) / float{1 << 23} - 1.0f;
          images.push_back(noise + (c == i % 3 ? 1.5f : 0.0f));
        }
      }
    }
    REQUIRE(io::write_npy(scratch("x.npy"), {kImages, 3, kSide, kSide}, images.data()).ok());
    write_labels(scratch("y.npy"), labels);
    return "npy:" + scratch("x.npy") + "," + scratch("y.npy");
  }();
  return data;
}

std::vector<std::string> train_line(const std::string& out, const std::vector<std::string>& more) {
  std::vector<std::string> line{"train",    tiny_model(), "--data",    tiny_data(), "-o",   scratch(out),
                                "--epochs", "6",          "--batch",   "8",         "--lr", "0.05",
                                "--seed",   "5",          "--threads", "1"};
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

Outcome train(const std::string& out, const std::vector<std::string>& more) {
  return sparsenet(train_line(out, more));
}

const std::string& plain_result() {
  static const std::string bytes = [] {
    const Outcome outcome = train("plain.snet");
    REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
    return bytes_of(scratch("plain.snet"));
  }();
  REQUIRE_FALSE(bytes.empty());
  return bytes;
}

void make_photos(const std::string& folder, const std::vector<std::string>& samples) {
  for (const std::string& name : samples) {
    fs::create_directories(scratch(folder + "/" + name));
    for (const char* copy : {"1.png", "2.png"}) {
      fs::copy_file(sample(name + ".png"), scratch(folder + "/" + name + "/" + copy),
                    fs::copy_options::overwrite_existing);
    }
  }
}

}  // namespace sparsenet::test
