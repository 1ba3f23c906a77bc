#include "commands.h"

#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/model.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/npy.h"
#include "train_command.h"

namespace sparsenet::test {
namespace fs = std::filesystem;

namespace {

constexpr const char* kSmallNetwork = "sparsenet-abc:blocks=1-1-1,k=4,path=2";

// Two batches in CIFAR-10's format: 3073 bytes per image.
void make_cifar(const std::string& folder) {
  fs::create_directories(folder);
  std::string record(3073, '\0');
  for (const char* name :
       {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"}) {
    std::ofstream file(folder + "/" + name + ".bin", std::ios::binary);
    for (int image = 0; image < 4; ++image) {
      for (size_t i = 0; i < record.size(); ++i)
        record[i] = static_cast<char>((i * 31 + static_cast<size_t>(image) * 7) % 251);
      record[0] = static_cast<char>(image % 3);
      file << record;
    }
  }
}

std::string little_endian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

// A matrix of bytes in MATLAB 5 format.
std::string mat_matrix(const std::string& name, const std::vector<uint32_t>& dims, const std::string& data) {
  constexpr uint32_t kInt8 = 1, kUint8 = 2, kInt32 = 5, kUint32 = 6, kMatrix = 14, kUint8Class = 9;
  const auto element = [](uint32_t type, const std::string& bytes) {
    return little_endian(type, 4) + little_endian(bytes.size(), 4) + bytes +
           std::string((8 - bytes.size() % 8) % 8, '\0');
  };
  std::string sizes;
  for (const uint32_t dim : dims) sizes += little_endian(dim, 4);
  return element(kMatrix, element(kUint32, little_endian(kUint8Class, 8)) + element(kInt32, sizes) +
                              element(kInt8, name) + element(kUint8, data));
}

// Four images of SVHN.
void make_svhn(const std::string& folder) {
  fs::create_directories(folder);
  std::string header = "MATLAB 5.0 MAT-file, made by a test";
  header.resize(124, ' ');
  header += std::string("\0\1IM", 4);
  std::string pixels(32 * 32 * 3 * 4, '\0');
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<char>(i * 37 % 253);
  std::ofstream(folder + "/test_32x32.mat", std::ios::binary)
      << header << mat_matrix("X", {32, 32, 3, 4}, pixels) << mat_matrix("y", {4, 1}, "\1\2\1\2");
}

// The weights of a small network, stored as PyTorch users do.
void make_safetensors(const std::string& path) {
  auto architecture = parse_architecture(kSmallNetwork);
  REQUIRE(architecture.ok());
  auto graph = build_graph(*architecture, 3);
  REQUIRE(graph.ok());
  nlohmann::ordered_json head;
  std::string data;
  for (const Value& value : graph->values) {
    if (!value.is_constant || value.constant.type != DataType::kFloat32) continue;
    const size_t bytes = value.constant.bytes();
    head[value.name] = {{"dtype", "F32"}, {"shape", value.shape}, {"data_offsets", {data.size(), data.size() + bytes}}};
    data.append(static_cast<const char*>(value.constant.data), bytes);
  }
  const std::string text = head.dump();
  std::ofstream(path, std::ios::binary) << little_endian(text.size(), 8) << text << data;
}

}  // namespace

std::vector<FaultyCommand> faulty_commands(const std::string& folder) {
  const std::string in = folder + "/in", source = SPARSENET_SOURCE_DIR;
  fs::create_directories(in);
  fs::create_directories(folder + "/out");
  const auto copy = [&](const std::string& from, const std::string& name) {
    fs::copy_file(from, in + "/" + name, fs::copy_options::overwrite_existing);
  };
  auto model = load_model(tiny_model());
  REQUIRE(model.ok());
  model->metadata.mean = {125, 123, 114};
  model->metadata.std_dev = {63, 62, 67};
  REQUIRE(save_model(*model, in + "/tiny.snet").ok());
  REQUIRE(train("for_faults.snet").code == 0);  // including test vectors
  copy(scratch("for_faults.snet"), "trained.snet");
  tiny_data();
  copy(scratch("x.npy"), "x.npy");
  copy(scratch("y.npy"), "y.npy");
  std::vector<float> one(3 * kSide * kSide, 0.5f);
  REQUIRE(io::write_npy(in + "/one.npy", {1, 3, kSide, kSide}, one.data()).ok());
  copy(sample("cat-0000.png"), "cat.png");
  copy(source + "/tests/cli/data/rgb.jpg", "rgb.jpg");
  for (const char* label : {"low", "middle", "high"}) {
    fs::create_directories(in + "/photos/" + label);
    copy(sample("dog-0012.png"), std::string("photos/") + label + "/a.png");
  }
  make_cifar(in + "/cifar");
  make_svhn(in + "/svhn");
  make_safetensors(in + "/net.safetensors");
  copy(source + "/tests/unit/converter_data/exporter_habits.onnx", "net.onnx");
  copy(source + "/tests/unit/converter_data/convolutions.tflite", "net.tflite");
  copy(source + "/models/sources/sparsenet-abc-v0-cifar10.pth", "net.pth");
  std::ofstream(in + "/labels.txt") << "one\ntwo\nthree\n";

  const auto training = [](const std::vector<std::string>& more) {
    std::vector<std::string> line{"train",     "in/tiny.snet",
                                  "--data",    "npy:in/x.npy,in/y.npy",
                                  "-o",        "out/net.snet",
                                  "--epochs",  "2",
                                  "--batch",   "16",
                                  "--lr",      "0.05",
                                  "--seed",    "5",
                                  "--threads", "1"};
    line.insert(line.end(), more.begin(), more.end());
    return line;
  };
  return {
      {"create", false, {"create", "resnet20", "-o", "out/a.snet"}, {"a.snet"}},
      {"info", false, {"info", "in/tiny.snet"}, {}},
      {"info --json --plan-svg", false, {"info", "in/tiny.snet", "--json", "--plan-svg", "out/plan.svg"}, {"plan.svg"}},
      {"run", false, {"run", "in/tiny.snet", "-i", "in/one.npy", "-o", "out/y.npy"}, {"y.npy"}, true},
      {"run --backend portable",
       false,
       {"run", "in/tiny.snet", "-i", "in/one.npy", "-o", "out/y.npy", "--backend", "portable", "-t", "2"},
       {"y.npy"},
       true},
      {"run --backend onednn",
       false,
       {"run", "in/tiny.snet", "-i", "in/one.npy", "-o", "out/y.npy", "--backend", "onednn", "-t", "1"},
       {"y.npy"},
       true},
      {"classify PNG", false, {"classify", "in/tiny.snet", "in/cat.png", "-t", "1"}, {}, true},
      {"classify JPEG", false, {"classify", "in/tiny.snet", "in/rgb.jpg", "-t", "1", "--json"}, {}, true},
      {"eval npy", false, {"eval", "in/tiny.snet", "--data", "npy:in/x.npy,in/y.npy", "-t", "1"}, {}, true},
      {"eval folder", false, {"eval", "in/tiny.snet", "--data", "folder:in/photos", "-t", "1"}, {}, true},
      {"eval cifar10", false, {"eval", "in/tiny.snet", "--data", "cifar10:in/cifar", "-t", "1", "--json"}, {}, true},
      {"eval svhn", false, {"eval", "in/trained.snet", "--data", "svhn:in/svhn", "-t", "1"}, {}, true},
      {"bench", false, {"bench", "in/tiny.snet", "-r", "3", "--warmup", "1", "-t", "1"}, {}, true},
      {"profile",
       false,
       {"profile", "in/tiny.snet", "-r", "2", "-t", "1", "--trace", "out/trace.json"},
       {"trace.json"},
       true},
      {"verify", false, {"verify", "in/trained.snet"}, {}, true},
      {"train",
       false,
       training({"--test", "npy:in/x.npy,in/y.npy", "--log", "out/net.csv", "--plot", "out/net.svg"}),
       {"net.snet", "net.snet.checkpoint", "net.csv", "net.svg"},
       true},
      {"train ARCH",
       false,
       {"train", kSmallNetwork, "--data", "cifar10:in/cifar", "-o", "out/net.snet", "--epochs", "1", "--batch", "4",
        "--threads", "1", "--json"},
       {"net.snet", "net.snet.checkpoint"},
       true},
      {"train --freeze",
       false,
       {"train", "in/tiny.snet", "--data", "folder:in/photos", "-o", "out/net.snet", "--epochs", "1", "--batch", "3",
        "--threads", "1", "--freeze", "all-but-head", "--classes", "4"},
       {"net.snet", "net.snet.checkpoint"},
       true},
      {"convert onnx",
       true,
       {"in/net.onnx", "-o", "out/net.snet", "--test-vectors", "1", "--report", "out/report.json", "-v"},
       {"net.snet", "report.json"},
       true},
      {"convert tflite", true, {"in/net.tflite", "-o", "out/net.snet"}, {"net.snet"}, true},
      {"convert torch", true, {"in/net.pth", "-o", "out/net.snet", "--arch", "sparsenet-abc-v0"}, {"net.snet"}, true},
      {"convert safetensors",
       true,
       {"in/net.safetensors", "-o", "out/net.snet", "--arch", kSmallNetwork},
       {"net.snet"},
       true},
      {"convert snet",
       true,
       {"in/trained.snet", "-o", "out/net.snet", "--labels", "in/labels.txt", "--plan", "portable-f32",
        "--training-plan", "--c-array", "out", "--select-ops", "out"},
       {"net.snet", "net.h", "net.c", "sparsenet_kernels.cpp"},
       true},
  };
}

}  // namespace sparsenet::test
