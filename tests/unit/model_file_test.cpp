// Valid model files: what is written is read back unchanged, and files are written completely or not at all.
#include <doctest/doctest.h>
#include <signal.h>
#include <sparsenet/architecture.h>
#include <sparsenet/model.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "model_samples.h"
#include "support/random_graphs.h"
#include "support/random_integers.h"
#include "support/scratch_folder.h"

using namespace sparsenet;
using namespace sparsenet::test;
namespace fs = std::filesystem;

namespace {

std::vector<uint8_t> content(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void check_tensor(const Tensor& a, const Tensor& b) {
  CHECK(a.type == b.type);
  REQUIRE(a.shape == b.shape);
  REQUIRE(a.data);
  CHECK(std::memcmp(a.data, b.data, a.bytes()) == 0);
}

struct SameAttrs {
  const Attrs& other;
  bool operator()(const NoAttrs&) const { return true; }
  bool operator()(const ConvAttrs& a) const {
    const auto& b = std::get<ConvAttrs>(other);
    return a.kernel == b.kernel && a.stride == b.stride && a.dilation == b.dilation && a.pads == b.pads &&
           a.groups == b.groups && a.activation == b.activation;
  }
  bool operator()(const FullyConnectedAttrs& a) const {
    return a.activation == std::get<FullyConnectedAttrs>(other).activation;
  }
  bool operator()(const BatchNormAttrs& a) const { return a.epsilon == std::get<BatchNormAttrs>(other).epsilon; }
  bool operator()(const ClipAttrs& a) const {
    const auto& b = std::get<ClipAttrs>(other);
    return a.low == b.low && a.high == b.high;
  }
  bool operator()(const AlphaBetaAttrs& a) const {
    const auto& b = std::get<AlphaBetaAttrs>(other);
    return a.alpha == b.alpha && a.beta == b.beta;
  }
  bool operator()(const AxisAttrs& a) const { return a.axis == std::get<AxisAttrs>(other).axis; }
  bool operator()(const SplitAttrs& a) const {
    const auto& b = std::get<SplitAttrs>(other);
    return a.axis == b.axis && a.sizes == b.sizes;
  }
  bool operator()(const SliceAttrs& a) const {
    const auto& b = std::get<SliceAttrs>(other);
    return a.axes == b.axes && a.starts == b.starts && a.ends == b.ends && a.steps == b.steps;
  }
  bool operator()(const PadAttrs& a) const {
    const auto& b = std::get<PadAttrs>(other);
    return a.before == b.before && a.after == b.after && a.value == b.value;
  }
  bool operator()(const PoolAttrs& a) const {
    const auto& b = std::get<PoolAttrs>(other);
    return a.kernel == b.kernel && a.stride == b.stride && a.pads == b.pads && a.ceil_mode == b.ceil_mode &&
           a.count_include_pad == b.count_include_pad;
  }
  bool operator()(const ReduceAttrs& a) const {
    const auto& b = std::get<ReduceAttrs>(other);
    return a.axes == b.axes && a.keep_dims == b.keep_dims;
  }
  bool operator()(const ReshapeAttrs& a) const { return a.dims == std::get<ReshapeAttrs>(other).dims; }
  bool operator()(const TransposeAttrs& a) const { return a.perm == std::get<TransposeAttrs>(other).perm; }
  bool operator()(const AffineAttrs&) const { return false; }                        // never stored
  bool operator()(const std::shared_ptr<const TrainAttrs>&) const { return false; }  // never stored
  bool operator()(const AttentionAttrs&) const { return false; }
};

void check_graph(const Graph& a, const Graph& b) {
  CHECK(a.inputs == b.inputs);
  CHECK(a.outputs == b.outputs);
  REQUIRE(a.values.size() == b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) {
    CAPTURE(a.values[i].name);
    CHECK(a.values[i].name == b.values[i].name);
    CHECK(a.values[i].type == b.values[i].type);
    CHECK(a.values[i].shape == b.values[i].shape);
    REQUIRE(a.values[i].is_constant == b.values[i].is_constant);
    CHECK(a.values[i].quantization.scales == b.values[i].quantization.scales);
    CHECK(a.values[i].quantization.zero_points == b.values[i].quantization.zero_points);
    CHECK(a.values[i].quantization.axis == b.values[i].quantization.axis);
    if (a.values[i].is_constant) check_tensor(a.values[i].constant, b.values[i].constant);
  }
  REQUIRE(a.nodes.size() == b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    CAPTURE(a.nodes[i].name);
    CHECK(a.nodes[i].op == b.nodes[i].op);
    CHECK(a.nodes[i].name == b.nodes[i].name);
    CHECK(a.nodes[i].rounding == b.nodes[i].rounding);
    CHECK(a.nodes[i].inputs == b.nodes[i].inputs);
    CHECK(a.nodes[i].outputs == b.nodes[i].outputs);
    REQUIRE(a.nodes[i].attrs.index() == b.nodes[i].attrs.index());
    CHECK(std::visit(SameAttrs{b.nodes[i].attrs}, a.nodes[i].attrs));
  }
}

}  // namespace

TEST_CASE("xxh64 gives the hashes of the reference implementation") {
  struct Row {
    size_t size;
    uint64_t seed0, seed;  // seed 2654435761
  };
  const Row rows[] = {
      {0, 0xef46db3751d8e999, 0xac75fda2929b17ef},   {1, 0x2078e1ad38ad738b, 0xe09a55ee04ee9790},
      {3, 0x634d95fc01a189cd, 0x2812951f9274c573},   {4, 0xeed340908a1ac6c6, 0x7077215546799520},
      {7, 0x0da493621d6dc898, 0x502e324adb3bfac6},   {8, 0x76f916c7bb523126, 0x3eefa3e2227523c4},
      {14, 0x6977612789023e44, 0xf8c5d603f15d1ffd},  {31, 0x65c5feb01da7464d, 0xd59b0494237a2e46},
      {32, 0x7665c921c9bf2ec7, 0x3c9b8ca326d19018},  {33, 0xb5a9d9ef259ae821, 0xbf0219f3739423b4},
      {63, 0xb0289cd9324034f0, 0xed9abfb1d3b4c22c},  {64, 0xfff2525c99bf2005, 0x57d64632337ad473},
      {100, 0x74e502db362efd4c, 0x9203b64af7d0c8f2}, {1000, 0x626443c8029d0542, 0x5fc1cfbdef1f261c},
  };
  std::vector<uint8_t> bytes(1001);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 167 + 13);
  for (const Row& row : rows) {
    CAPTURE(row.size);
    CHECK(xxh64(bytes.data(), row.size) == row.seed0);
    CHECK(xxh64(bytes.data(), row.size, 2654435761u) == row.seed);
  }
  CHECK(xxh64("abc", 3) == 0x44bc2cf5ad770999);
  CHECK(xxh64(nullptr, 0) == 0xef46db3751d8e999);
}

TEST_CASE("a model is read back as it was written, and written again to the same bytes") {
  Model model = model_of_all_ops();
  REQUIRE_MESSAGE(model.graph.infer_shapes().ok(), model.graph.infer_shapes().message());
  const std::vector<uint8_t> bytes = bytes_of(model);
  CHECK(bytes_of(model) == bytes);
  Result<Model> read = load(bytes);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  check_graph(model.graph, read->graph);
  const Metadata &a = model.metadata, &b = read->metadata;
  CHECK(a.name == b.name);
  CHECK(a.architecture == b.architecture);
  CHECK(a.provenance == b.provenance);
  CHECK(a.license == b.license);
  CHECK(a.labels == b.labels);
  CHECK(a.color_order == b.color_order);
  CHECK(a.mean == b.mean);
  CHECK(a.std_dev == b.std_dev);
  CHECK(a.resize == b.resize);
  REQUIRE(read->test_vectors.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(read->test_vectors[i].tolerance == 2e-4f);
    for (size_t j = 0; j < 2; ++j) {
      check_tensor(model.test_vectors[i].inputs[j], read->test_vectors[i].inputs[j]);
      check_tensor(model.test_vectors[i].outputs[j], read->test_vectors[i].outputs[j]);
    }
  }
  CHECK(bytes_of(*read) == bytes);
}

TEST_CASE("the sample holds every op that a file may hold") {
  std::vector<bool> seen(64, false);
  for (const Graph& graph : {graph_of_all_ops(), graph_of_integers()}) {
    for (const Node& node : graph.nodes) seen[static_cast<size_t>(node.op)] = true;
  }
  int known = 0;
  for (int op = 1; op < 64; ++op) {
    const OpDefinition* definition = find_op(static_cast<Op>(op));
    if (!definition) continue;
    ++known;
    CAPTURE(definition->name);
    CHECK(seen[static_cast<size_t>(op)] == definition->storable);  // for a new op: extend the sample
  }
  CHECK(known >= 33);
}

TEST_CASE("random graphs survive the round trip") {
  int stored = 0;
  for (const auto& generators :
       {layer_generators(), data_generators(), general_generators(), network_generators(), integer_generators()}) {
    for (const Generator& generator : generators) {
      CAPTURE(generator.name);
      Model model;
      model.graph = make_graph(generator, 5);
      REQUIRE_MESSAGE(model.graph.infer_shapes().ok(), model.graph.infer_shapes().message());
      const auto made_by_passes = [](const Node& node) { return static_cast<int>(node.op) >= 100; };
      if (std::any_of(model.graph.nodes.begin(), model.graph.nodes.end(), made_by_passes)) continue;
      const std::vector<uint8_t> bytes = bytes_of(model);
      Result<Model> read = load(bytes);
      REQUIRE_MESSAGE(read.ok(), read.status().message());
      check_graph(model.graph, read->graph);
      CHECK(bytes_of(*read) == bytes);
      ++stored;
    }
  }
  CHECK(stored > 10);
}

TEST_CASE("constants stand at multiples of 64, identical ones once") {
  const std::vector<uint8_t> bytes = bytes_of(model_of_all_ops());
  std::vector<uint8_t> storage(bytes.size() + 64);
  uint8_t* base = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64);
  std::memcpy(base, bytes.data(), bytes.size());
  Result<Model> read = load_model(base, bytes.size(), nullptr, "test.snet");
  REQUIRE(read.ok());
  const void *one = nullptr, *scale = nullptr;
  for (const Value& value : read->graph.values) {
    if (!value.is_constant) continue;
    const auto* data = static_cast<const uint8_t*>(value.constant.data);
    CHECK(reinterpret_cast<uintptr_t>(data) % 64 == 0);
    CHECK(data >= base);  // not copied
    CHECK(data + value.constant.bytes() <= base + bytes.size());
    if (value.name == "one") one = data;
    if (value.name == "scale") scale = data;
  }
  CHECK(one == scale);
  CHECK(one != nullptr);
  CHECK(read->test_vectors[0].inputs[0].data == read->test_vectors[1].inputs[0].data);

  // At an odd address the data is copied, and the copy lives as long as the model's tensors.
  std::vector<uint8_t> odd(bytes.size() + 1);
  std::memcpy(odd.data() + 1, bytes.data(), bytes.size());
  read = load_model(odd.data() + 1, bytes.size(), nullptr, "test.snet");
  REQUIRE(read.ok());
  std::fill(odd.begin(), odd.end(), uint8_t{0xEE});
  for (const Value& value : read->graph.values) {
    if (value.name != "one") continue;
    CHECK(reinterpret_cast<uintptr_t>(value.constant.data) % 64 == 0);
    CHECK(value.constant.f32()[5] == 1.f);
  }
}

TEST_CASE("what is stored once unfolds into no more than the reader allows, whatever the names and shapes") {
  Model model;
  Graph& graph = model.graph;
  const std::string long_name(1000, 'n');
  const Shape shape{1, 1, 1, 1, 1, 1, 1, 1};
  ValueId x = graph.add_input("x", shape);
  for (int i = 0; i < 2000; ++i) {
    graph.add_constant("c" + std::to_string(i), Tensor::filled(shape, 1.f));
    x = graph.add_node(Op::kRelu, i % 2 ? "r" + std::to_string(i) : long_name, {x});
    graph.value(x).name = i % 3 ? "r" + std::to_string(i) : long_name + std::to_string(i);
  }
  graph.outputs = {x};
  const std::vector<uint8_t> bytes = bytes_of(model);
  Result<Model> read = load(bytes);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(read->graph.nodes[2].name == long_name);
  CHECK(bytes_of(*read) == bytes);
}

TEST_CASE("a file is mapped, and its tensors outlive the model and the file's name") {
  const ScratchFolder scratch;
  const std::string path = scratch.file("net.snet");
  Model model;
  model.graph = *build_graph(*parse_architecture("sparsenet-abc-v0"));
  REQUIRE(save_model(model, path).ok());
  CHECK(scratch.names().size() == 1);
  Tensor kept;
  {
    Result<Model> read = load_model(path);
    REQUIRE_MESSAGE(read.ok(), read.status().message());
    check_graph(model.graph, read->graph);
    CHECK(read->graph.parameter_count() == 86954);
    kept = read->graph.values[1].constant;
    REQUIRE(read->graph.values[1].name == "stem.weight");
    // Saving over the mapped file replaces it; the mapping keeps the old bytes.
    REQUIRE(save_model(tiny_model(), path).ok());
    CHECK(bytes_of(*read) == bytes_of(model));
    REQUIRE(load_model(path).ok());
    CHECK(load_model(path)->graph.nodes.size() == 3);
  }
  REQUIRE(fs::remove(path));
  check_tensor(kept, model.graph.values[1].constant);
}

TEST_CASE("a file that is copied may be shortened and written over") {
  const ScratchFolder scratch;
  const std::string path = scratch.file("net.snet");
  Model model;
  model.graph = *build_graph(*parse_architecture("sparsenet-abc-v0"));
  REQUIRE(save_model(model, path).ok());
  LoadOptions options;
  options.copy = true;
  Result<Model> read = load_model(path, options);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  REQUIRE(::truncate(path.c_str(), 0) == 0);
  CHECK(bytes_of(*read) == bytes_of(model));
  const Status empty = load_model(path, options).status(), none = load_model(scratch.file("none"), options).status();
  CHECK(empty.code() == StatusCode::kInvalidModel);
  CHECK(empty.message().find(path) == 0);
  CHECK(none.code() == StatusCode::kNotFound);
  CHECK(load_model(scratch.file(""), options).status().code() == StatusCode::kIo);
}

TEST_CASE("what cannot be stored is refused before anything is written") {
  const ScratchFolder scratch;
  const std::string path = scratch.file("net.snet");
  auto refused = [&](const Model& model, const std::string& part) {
    const Status status = save_model(model, path);
    CHECK_FALSE(status.ok());
    CAPTURE(status.message());
    CHECK(status.message().find(part) != std::string::npos);
    CHECK(status.message().find(path) == 0);
    CHECK(scratch.names().size() == 0);
  };
  Model model = tiny_model();
  const ValueId two = model.graph.add_constant("two", ramp({2}));
  model.graph.outputs = {model.graph.add_node(Op::kAffine, "fused", {model.graph.outputs[0], two, two}, AffineAttrs{})};
  refused(model, "Affine 'fused'");
  model = tiny_model();
  model.graph.outputs = {};
  refused(model, "no output");
  model = tiny_model();
  model.metadata.labels.pop_back();
  refused(model, "expected one for each of the 2 values");
  model = tiny_model();
  model.metadata.labels[1] = "yes\r";
  refused(model, "label 1");
  model = tiny_model();
  model.metadata.std_dev = {1.f, 0.f};
  refused(model, "non-zero");
  model = tiny_model();
  model.metadata.mean = {1.f};
  refused(model, "expected 2 numbers");
  model = tiny_model();
  model.metadata.color_order = "CMYK";
  refused(model, "RGB, BGR or GRAY");
  model = tiny_model();
  model.metadata.resize = "nearest";
  refused(model, "bilinear");
  model = tiny_model();
  model.metadata.provenance = "\xff";
  refused(model, "UTF-8");
  model = tiny_model();
  model.graph.values[0].name = std::string(5000, 'x');
  refused(model, "at most 1024 bytes");
  model = tiny_model();
  model.test_vectors.resize(1);
  model.test_vectors[0].inputs = {ramp({1, 2, 4, 5})};
  model.test_vectors[0].outputs = {ramp({1, 2})};
  refused(model, "[1, 2, 4, 4]");
  model.test_vectors[0].inputs.clear();
  refused(model, "expected 1, found 0");
}

TEST_CASE("files are written whole or not at all") {
  const ScratchFolder scratch;
  const std::vector<uint8_t> old_bytes{1, 2, 3}, bytes(100000, 7);
  const std::string path = scratch.file("file");
  REQUIRE(write_file_atomically(path, old_bytes.data(), old_bytes.size()).ok());
  CHECK(content(path) == old_bytes);
  REQUIRE(write_file_atomically(path, bytes.data(), bytes.size()).ok());
  CHECK(content(path) == bytes);
  CHECK(scratch.names().size() == 1);
  REQUIRE(write_file_atomically(path, nullptr, 0).ok());
  CHECK(content(path).empty());

  SUBCASE("no directory") {
    const Status status = write_file_atomically(scratch.file("none/file"), bytes.data(), bytes.size());
    CHECK(status.code() == StatusCode::kNotFound);
    CHECK(status.message().find(scratch.file("none/file")) == 0);
    CHECK(scratch.names().size() == 1);
  }
  SUBCASE("a file where a directory should be") {
    CHECK(write_file_atomically(path + "/file", bytes.data(), bytes.size()).code() == StatusCode::kIo);
    CHECK(scratch.names().size() == 1);
  }
  SUBCASE("a directory where the file should be") {
    fs::create_directory(scratch.path() / "folder");
    CHECK(write_file_atomically(scratch.file("folder"), bytes.data(), bytes.size()).code() == StatusCode::kIo);
    CHECK(scratch.names().size() == 2);
    CHECK(fs::is_empty(scratch.path() / "folder"));
  }
  SUBCASE("a device stays a device") {
    CHECK(write_file_atomically("/dev/null", bytes.data(), bytes.size()).code() == StatusCode::kIo);
    CHECK(fs::is_character_file("/dev/null"));
  }
  SUBCASE("the disk fills up half way") {
    REQUIRE(write_file_atomically(path, old_bytes.data(), old_bytes.size()).ok());
    rlimit limit{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    const rlimit small{bytes.size() / 2, limit.rlim_max};
    const auto handler = signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    const Status status = write_file_atomically(path, bytes.data(), bytes.size());
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    signal(SIGXFSZ, handler);
    CHECK(status.code() == StatusCode::kIo);
    CHECK(content(path) == old_bytes);
    CHECK(scratch.names().size() == 1);
  }
  SUBCASE("a read-only directory") {
    if (geteuid() == 0) {
      MESSAGE("skipped: root may write anywhere");
    } else {
      fs::permissions(scratch.path(), fs::perms::owner_read | fs::perms::owner_exec);
      CHECK(write_file_atomically(path, bytes.data(), bytes.size()).code() == StatusCode::kIo);
      fs::permissions(scratch.path(), fs::perms::owner_all);
      CHECK(scratch.names().size() == 1);
    }
  }
  SUBCASE("links and modes stay") {
    fs::create_symlink("file", scratch.path() / "link");
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    REQUIRE(write_file_atomically(scratch.file("link"), bytes.data(), bytes.size()).ok());
    CHECK(fs::is_symlink(scratch.path() / "link"));
    CHECK(content(path) == bytes);
    CHECK(fs::status(path).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  }
}

TEST_CASE("paths that cannot be read") {
  const ScratchFolder scratch;
  const std::string missing = scratch.file("missing.snet");
  CHECK(load_model(missing).status().code() == StatusCode::kNotFound);
  CHECK(load_model(missing).status().message().find(missing) == 0);
  CHECK(load_model(scratch.path().string()).status().code() == StatusCode::kIo);
  CHECK(load_model("").status().code() == StatusCode::kNotFound);
  CHECK(load_model("/dev/null").status().code() == StatusCode::kIo);
  REQUIRE(mkfifo(scratch.file("pipe").c_str(), 0600) == 0);
  CHECK(load_model(scratch.file("pipe")).status().code() == StatusCode::kIo);
  std::ofstream(scratch.file("empty")).close();
  CHECK(load_model(scratch.file("empty")).status().code() == StatusCode::kInvalidModel);
  std::ofstream(scratch.file("text")) << "This is no model, but it is long enough to hold the footer of one.";
  const Status status = load_model(scratch.file("text")).status();
  CHECK(status.code() == StatusCode::kInvalidModel);
  CHECK(status.message() == scratch.file("text") + ": not a .snet file: expected 'SNET' at byte 4");
}
