// Data sets: right contents from well-formed files, clear errors from others.
#include "data/dataset.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "data/npy.h"
#include "support/data_folder.h"
#include "support/skip.h"

namespace {

using namespace sparsenet;
namespace fs = std::filesystem;

using test::TemporaryFolder;
constexpr auto contains = test::has;

Result<std::unique_ptr<io::Dataset>> open(const std::string& text, const std::string& split = "test") {
  return test::open_data(text, split);
}

std::string error_of(const std::string& text) {
  return test::data_error(text);
}

// One record: the labels, then planes whose first pixel is (1, 2, 3) + shade.
std::string record(const std::string& labels, int shade) {
  std::string bytes = labels;
  for (int plane = 1; plane <= 3; ++plane) {
    bytes += static_cast<char>(plane + shade);
    bytes += std::string(1023, '\0');
  }
  return bytes;
}

TEST_CASE("data spec: forms and splits") {
  auto spec = io::parse_data_spec("cifar10:a/b#train+test", "test");
  REQUIRE(spec.ok());
  CHECK(spec->kind == "cifar10");
  CHECK(spec->paths == std::vector<std::string>{"a/b"});
  CHECK(spec->splits == std::vector<std::string>{"train", "test"});
  CHECK(spec->split_given);

  spec = io::parse_data_spec("npy:x.npy,y.npy", "train");
  REQUIRE(spec.ok());
  CHECK(spec->paths == std::vector<std::string>{"x.npy", "y.npy"});
  CHECK(spec->splits == std::vector<std::string>{"train"});

  spec = io::parse_data_spec("folder:a#1/b", "test");  // a '#' inside a path does not begin a suffix
  REQUIRE(spec.ok());
  CHECK(spec->paths == std::vector<std::string>{"a#1/b"});

  for (const char* wrong : {"", "cifar10", "cifar10:", "mnist:dir", "cifar10:dir#validation", "cifar10:dir#",
                            "cifar10:dir#train+train", "npy:x.npy", "npy:x.npy,", "npy:a,b,c", "npy:a,b#train"}) {
    auto refused = io::parse_data_spec(wrong, "test");
    REQUIRE_FALSE_MESSAGE(refused.ok(), wrong);
    CHECK(contains(refused.status().message(), "expected cifar10:DIR"));
  }
  spec = io::parse_data_spec("svhn:dir#train+extra", "test");
  REQUIRE(spec.ok());
  CHECK(spec->splits == std::vector<std::string>{"train", "extra"});
}

TEST_CASE("cifar10: records, splits and names") {
  const TemporaryFolder folder;
  for (int i = 1; i <= 5; ++i) {
    folder.write("data_batch_" + std::to_string(i) + ".bin", record(std::string(1, static_cast<char>(i)), 10 * i));
  }
  folder.write("test_batch.bin", record(std::string(1, '\x07'), 100) + record(std::string(1, '\0'), 110));
  folder.write("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");

  auto test = open("cifar10:" + folder.path());
  REQUIRE_MESSAGE(test.ok(), test.status().message());
  CHECK((*test)->size() == 2);
  CHECK((*test)->label(0) == 7);
  CHECK((*test)->class_names().size() == 10);
  auto image = (*test)->image(1);
  REQUIRE(image.ok());
  CHECK(image->pixels[0] == 111);  // interleaved
  CHECK(image->pixels[1] == 112);
  CHECK(image->pixels[2] == 113);

  auto train = open("cifar10:" + folder.path() + "#train");
  REQUIRE(train.ok());
  CHECK((*train)->size() == 5);
  CHECK((*train)->label(4) == 5);
  auto both = open("cifar10:" + folder.path() + "#train+test");
  REQUIRE(both.ok());
  CHECK((*both)->size() == 7);
  CHECK((*both)->label(5) == 7);

  auto preprocess = io::Preprocess::create({1, 3, 32, 32}, Metadata());
  REQUIRE(preprocess.ok());
  std::vector<float> input(preprocess->elements());
  REQUIRE((*test)->input(0, *preprocess, input.data()).ok());
  CHECK(input[0] == 101);
  CHECK(input[1024] == 102);
}

TEST_CASE("cifar100: the fine label counts; the official folder name is found") {
  const TemporaryFolder folder;
  folder.write("cifar-100-binary/test.bin", record(std::string("\x05\x63"), 0));
  auto data = open("cifar100:" + folder.path());
  REQUIRE_MESSAGE(data.ok(), data.status().message());
  CHECK((*data)->label(0) == 99);
  CHECK((*data)->image(0)->pixels[2] == 3);
}

TEST_CASE("cifar: broken files are told with name, expectation and finding") {
  const TemporaryFolder folder;
  CHECK(contains(error_of("cifar10:" + folder.path("nowhere")), "expected a directory"));
  CHECK(contains(error_of("cifar10:" + folder.path()), "test_batch.bin"));
  folder.write("test_batch.bin", std::string(3072, '\0'));
  const std::string short_file = error_of("cifar10:" + folder.path());
  CHECK(contains(short_file, "test_batch.bin: expected whole records of 3073 bytes, found 3072"));
  folder.write("test_batch.bin", "");
  CHECK(contains(error_of("cifar10:" + folder.path()), "found 0 bytes"));
  folder.write("test_batch.bin", record("\x03", 0) + record("\x0a", 0));
  CHECK(contains(error_of("cifar10:" + folder.path()), "record 1: expected a label below 10, found 10"));
  folder.write("test_batch.bin", record("\x03", 0));
  folder.write("batches.meta.txt", "one\ntwo\n");
  CHECK(contains(error_of("cifar10:" + folder.path()), "expected 10 class names, found 2"));
}

void write_bytes_array(const std::string& path, const std::string& shape, const std::string& data) {
  std::string text = "{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + "}\n";
  std::ofstream(path, std::ios::binary) << std::string("\x93NUMPY\x01\0", 8) << static_cast<char>(text.size()) << '\0'
                                        << text << data;
}

TEST_CASE("npy data set: ready-made inputs and integer labels") {
  const TemporaryFolder folder;
  std::vector<float> values(2 * 3 * 2 * 2);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 5.5f;
  const std::string images = folder.path("x.npy"), labels = folder.path("y.npy");
  REQUIRE(io::write_npy(images, {2, 3, 2, 2}, values.data()).ok());
  write_bytes_array(labels, "(2,)", std::string("\x04\x01", 2));
  const std::string text = "npy:" + images + "," + labels;
  auto data = open(text);
  REQUIRE_MESSAGE(data.ok(), data.status().message());
  CHECK((*data)->label(0) == 4);
  CHECK((*data)->image(0).status().code() == StatusCode::kUnsupported);

  auto fits = io::Preprocess::create({1, 3, 2, 2}, Metadata());
  std::vector<float> input(12);
  REQUIRE((*data)->input(1, *fits, input.data()).ok());
  CHECK(input == std::vector<float>(values.begin() + 12, values.end()));
  auto other = io::Preprocess::create({1, 3, 2, 1}, Metadata());
  const Status refused = (*data)->input(1, *other, input.data());
  CHECK(contains(refused.message(), "expected inputs of shape [2, 3, 2, 1], found [2, 3, 2, 2]"));

  write_bytes_array(labels, "(3,)", std::string("\x04\x01\x01", 3));
  CHECK(contains(error_of(text), "expected one label per image, shape [2], found [3]"));
  REQUIRE(io::write_npy(labels, {2}, values.data()).ok());
  CHECK(contains(error_of(text), "expected integers, found float32"));
  REQUIRE(io::write_npy(images, {2, 12}, values.data()).ok());
  CHECK(contains(error_of(text), "[N, C, H, W], found [2, 12]"));
}

TEST_CASE("npy data set: integers of a network's own type are its integers, others are refused") {
  const TemporaryFolder folder;
  const std::string images = folder.path("x.npy"), labels = folder.path("y.npy");
  write_bytes_array(images, "(1, 1, 2, 2)", std::string("\x00\x7f\x80\xff", 4));
  write_bytes_array(labels, "(1,)", std::string("\x04", 1));
  auto data = open("npy:" + images + "," + labels);
  REQUIRE_MESSAGE(data.ok(), data.status().message());
  auto preprocess = io::Preprocess::create({1, 1, 2, 2}, Metadata());
  std::vector<float> input(4);
  REQUIRE((*data)->input(0, *preprocess, input.data()).ok());
  CHECK(input == std::vector<float>{0, 127, 128, 255});  // a network of float32
  preprocess->set_integers(DataType::kUInt8, {{0.5f}, {128}, 0});
  REQUIRE((*data)->input(0, *preprocess, input.data()).ok());
  CHECK(input == std::vector<float>{-64, -0.5f, 0, 63.5f});
  preprocess->set_integers(DataType::kInt8, {{0.5f}, {0}, 0});
  CHECK(contains((*data)->input(0, *preprocess, input.data()).message(),
                 "x.npy: expected int8, the type of the network's input, or floats, found uint8"));
  const std::vector<float> reals{-64, -0.5f, 0, 63.5f};
  REQUIRE(io::write_npy(images, {1, 1, 2, 2}, reals.data()).ok());
  data = open("npy:" + images + "," + labels);
  REQUIRE((*data)->input(0, *preprocess, input.data()).ok());
  CHECK(input == reals);
}

TEST_CASE("labels are matched by name only where that is certain") {
  const std::vector<std::string> labels{"cat", "crane", "dog", "crane"};
  CHECK(io::match_labels({"dog", "cat"}, labels) == std::vector<int64_t>{2, 0});
  CHECK(io::match_labels({"dog", "bird"}, labels).empty());
  CHECK(io::match_labels({"crane"}, labels).empty());
  CHECK(io::match_labels({"dog"}, {}).empty());
  CHECK(io::match_labels(labels, labels) == std::vector<int64_t>{0, 1, 2, 3});  // although one name occurs twice
}

TEST_CASE("cifar10: the real files") {
  const std::string file = test::shared_file("data/cifar10/test_batch.bin");
  if (file.empty()) return test::skip("cifar10: the real files", "the shared data");
  auto data = open("cifar10:" + fs::path(file).parent_path().string());
  REQUIRE_MESSAGE(data.ok(), data.status().message());
  CHECK((*data)->size() == 10000);
  CHECK((*data)->class_names()[3] == "cat");
  // The sample images were taken from this file.
  for (const auto& [index, name] : {std::pair<int64_t, std::string>(0, "cat-0000"), {25, "bird-0025"}}) {
    auto sample = io::load_image(std::string(SPARSENET_SOURCE_DIR) + "/samples/" + name + ".png");
    REQUIRE(sample.ok());
    CHECK(sample->pixels == (*data)->image(index)->pixels);
    CHECK((*data)->class_names()[static_cast<size_t>((*data)->label(index))] == name.substr(0, name.find('-')));
  }
}

}  // namespace
