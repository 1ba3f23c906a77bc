#include "commands.h"

#include <doctest/doctest.h>
#include <sparsenet/model.h>

#include <filesystem>
#include <fstream>

#include "io/npy.h"
#include "train_command.h"

namespace sparsenet::test {
namespace fs = std::filesystem;

namespace {

// Two batches of CIFAR-10's format: 3073 bytes an image.
void make_cifar(const std::string& folder) {
  fs::create_directories(folder);
  std::string record(3073, '\0');
  for (const char* name : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"}) {
    std::ofstream file(folder + "/" + name + ".bin", std::ios::binary);
    for (int image = 0; image < 4; ++image) {
      for (size_t i = 0; i < record.size(); ++i) record[i] = static_cast<char>((i * 31 + static_cast<size_t>(image) * 7) % 251);
      record[0] = static_cast<char>(image % 3);
      file << record;
    }
  }
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
  REQUIRE(train("for_faults.snet").code == 0);  // with test vectors
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
  copy(source + "/tests/unit/converter_data/exporter_habits.onnx", "net.onnx");
  copy(source + "/tests/unit/converter_data/convolutions.tflite", "net.tflite");
  copy(source + "/models/sources/sparsenet-abc-v0-cifar10.pth", "net.pth");
  std::ofstream(in + "/labels.txt") << "one\ntwo\nthree\n";

  const auto training = [](const std::vector<std::string>& more) {
    std::vector<std::string> line{"train", "in/tiny.snet", "--data",  "npy:in/x.npy,in/y.npy", "-o",     "out/net.snet",
                                  "--epochs", "2",         "--batch", "16",                   "--lr",   "0.05",
                                  "--seed",   "5",         "--threads", "1"};
    line.insert(line.end(), more.begin(), more.end());
    return line;
  };
  return {
      {"create", false, {"create", "resnet20", "-o", "out/a.snet"}, {"a.snet"}},
      {"info", false, {"info", "in/tiny.snet"}, {}},
      {"info --json --plan-svg", false, {"info", "in/tiny.snet", "--json", "--plan-svg", "out/plan.svg"}, {"plan.svg"}},
      {"run", false, {"run", "in/tiny.snet", "-i", "in/one.npy", "-o", "out/y.npy"}, {"y.npy"}, true},
      {"run --backend portable", false,
       {"run", "in/tiny.snet", "-i", "in/one.npy", "-o", "out/y.npy", "--backend", "portable", "-t", "2"}, {"y.npy"}, true},
      {"run --backend onednn", false,
       {"run", "in/tiny.snet", "-i", "in/one.npy", "-o", "out/y.npy", "--backend", "onednn", "-t", "1"}, {"y.npy"}, true},
      {"classify PNG", false, {"classify", "in/tiny.snet", "in/cat.png", "-t", "1"}, {}, true},
      {"classify JPEG", false, {"classify", "in/tiny.snet", "in/rgb.jpg", "-t", "1", "--json"}, {}, true},
      {"eval npy", false, {"eval", "in/tiny.snet", "--data", "npy:in/x.npy,in/y.npy", "-t", "1"}, {}, true},
      {"eval folder", false, {"eval", "in/tiny.snet", "--data", "folder:in/photos", "-t", "1"}, {}, true},
      {"eval cifar10", false, {"eval", "in/tiny.snet", "--data", "cifar10:in/cifar", "-t", "1", "--json"}, {}, true},
      {"bench", false, {"bench", "in/tiny.snet", "-r", "3", "--warmup", "1", "-t", "1"}, {}, true},
      {"profile", false, {"profile", "in/tiny.snet", "-r", "2", "-t", "1", "--trace", "out/trace.json"}, {"trace.json"}, true},
      {"verify", false, {"verify", "in/trained.snet"}, {}, true},
      {"train", false, training({"--test", "npy:in/x.npy,in/y.npy", "--log", "out/net.csv", "--plot", "out/net.svg"}),
       {"net.snet", "net.snet.checkpoint", "net.csv", "net.svg"}, true},
      {"train ARCH", false,
       {"train", "sparsenet-abc:blocks=1-1-1,k=4,path=2", "--data", "cifar10:in/cifar", "-o", "out/net.snet", "--epochs", "1", "--batch", "4",
        "--threads", "1", "--json"},
       {"net.snet", "net.snet.checkpoint"}, true},
      {"train --freeze", false,
       {"train", "in/tiny.snet", "--data", "folder:in/photos", "-o", "out/net.snet", "--epochs", "1", "--batch", "3",
        "--threads", "1", "--freeze", "all-but-head", "--classes", "4"},
       {"net.snet", "net.snet.checkpoint"}, true},
      {"convert onnx", true,
       {"in/net.onnx", "-o", "out/net.snet", "--test-vectors", "1", "--report", "out/report.json", "-v"},
       {"net.snet", "report.json"}, true},
      {"convert tflite", true, {"in/net.tflite", "-o", "out/net.snet"}, {"net.snet"}, true},
      {"convert torch", true, {"in/net.pth", "-o", "out/net.snet", "--arch", "sparsenet-abc-v0"}, {"net.snet"}, true},
      {"convert snet", true,
       {"in/trained.snet", "-o", "out/net.snet", "--labels", "in/labels.txt", "--plan", "portable-f32", "--training-plan",
        "--c-array", "out", "--select-ops", "out"},
       {"net.snet", "net.h", "net.c", "sparsenet_kernels.cpp"}, true},
  };
}

}  // namespace sparsenet::test
