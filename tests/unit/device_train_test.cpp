// Training through the C API (sn_train_*): gives the same bits as a Trainer, and uses only the caller's memory; wrong
// calls, values that are not finite and damaged plans give a status and a message of one line.
#include <model_generated.h>
#include <sparsenet/deploy.h>
#include <sparsenet/trainer.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "format/stored/model_file.h"
#include "format/stored/stored_plan.h"
#include "kernels/isa.h"
#include "model_samples.h"
#include "plan/plan.h"
#include "session/thread_pool.h"
#include "support/device_helpers.h"
#include "support/skip.h"
#include "support/train_helpers.h"
#include "support/training_board.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr const char* kTarget = "portable-f32";
constexpr const char* kSmall = "sparsenet-abc:blocks=2-1,k=4,path=2";

Model trainable_model_of(const std::string& text, int test_vectors = 2) {
  Model model;
  model.graph = train_network(text);
  for (int i = 0; i < test_vectors; ++i) add_test_vector(model, 1e-4f, static_cast<uint32_t>(i + 1));
  auto plan = make_stored_plan(model.graph, kTarget);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  model.plans.push_back(std::move(*plan));
  auto training = make_training_plan(model, kTarget);
  REQUIRE_MESSAGE(training.ok(), training.status().message());
  model.plans.push_back(std::move(*training));
  return model;
}

void train_on_pool(void* self, int32_t chunks, void (*function)(void*, int32_t, int32_t), void* context) {
  static_cast<ThreadPool*>(self)->parallel(chunks, function, context);
}

}  // namespace

TEST_CASE("training in the caller's memory computes what a Trainer computes, bit for bit") {
  for (const std::string text : {"sparsenet-abc-v0", "resnet20", "densenet-bc-40-12", "sparsenet-basic-v0",
                                 "sparsenet-abc:blocks=2-2-3,k=5,path=3,attention=se"}) {
    CAPTURE(text);
    constexpr int kImages = 3;
    const Model source = trainable_model_of(text, 0);
    TrainOptions options;
    options.batch = 1;
    options.accumulate = kImages;
    options.threads = 1;
    options.freeze = "all-but-head";
    options.backend = Backend::kPortable;
    Trainer expected = make_trainer(source.graph, options);
    Board board(bytes_of(source));
    CHECK(board.needs.inputs == 2);
    CHECK(board.needs.outputs == 2);
    const TrainData data = train_data(4 * kImages, 10);
    CHECK(same_bits(board.parameters(), state_parameters(expected, board.parameters().size())));
    for (int64_t update = 0; update < 4; ++update) {
      double sum = 0;
      for (int64_t i = update * kImages; i < (update + 1) * kImages; ++i) {
        const auto step = expected.step(data.batch_images(i, 1), data.batch_labels(i, 1), 0.05f);
        REQUIRE_MESSAGE(step.ok(), step.status().message());
        CHECK(board.add(data, i) == static_cast<float>(step->loss));
        sum += step->loss;
      }
      CHECK(board.update(0.05f) == doctest::Approx(sum / kImages).epsilon(1e-6));
      CHECK(same_bits(board.parameters(), state_parameters(expected, board.parameters().size())));
    }
    // It now computes the same as the trained model.
    SessionOptions inference;
    inference.threads = 1;
    inference.backend = Backend::kPortable;
    auto session = Session::create(expected.graph().value(), inference);
    REQUIRE(session.ok());
    const float* image = data.batch_images(0, 1);
    REQUIRE(session->set_input(0, image, 3 * 32 * 32).ok());
    REQUIRE(session->run().ok());
    std::vector<float> trained(10);
    REQUIRE(session->get_output(0, trained.data(), trained.size()).ok());
    const std::vector<float> found = board.logits(image);
    for (size_t c = 0; c < found.size(); ++c) CHECK(found[c] == doctest::Approx(trained[c]).epsilon(1e-4));
    CHECK(board.memory.border_is_whole());
  }
}

TEST_CASE("training takes little more memory than inference") {
  const Model source = trainable_model_of("sparsenet-abc-v0", 0);
  Board board(bytes_of(source));
  Room model(bytes_of(source));
  const sn_needs inference = needs_of(model);
  CHECK(inference.parameters_bytes == 0);
  CHECK(board.needs.arena_bytes < inference.arena_bytes + 6 * board.needs.parameters_bytes);
}

TEST_CASE("training with threads of the caller's: the same bits") {
  const std::vector<uint8_t> bytes = bytes_of(trainable_model_of(kSmall, 0));
  ThreadPool pool(3);
  sn_thread_hook threads{sizeof threads, 3, train_on_pool, &pool};
  Board alone(bytes), shared(bytes, &threads);
  const TrainData data = train_data(4, 10);
  for (int64_t i = 0; i < 4; ++i) CHECK(alone.add(data, i) == shared.add(data, i));
  CHECK(alone.update(0.1f) == shared.update(0.1f));
  CHECK(same_bits(alone.parameters(), shared.parameters()));
}

TEST_CASE("parameters go away and come back") {
  const std::vector<uint8_t> bytes = bytes_of(trainable_model_of(kSmall, 0));
  Board board(bytes), after_reset(bytes);
  const TrainData data = train_data(2, 10);
  const std::vector<float> untrained = board.logits(data.batch_images(1, 1));
  for (int64_t i = 0; i < 2; ++i) board.add(data, i);
  board.update(0.1f);
  const std::vector<float> kept = board.parameters();
  const std::vector<float> trained = board.logits(data.batch_images(1, 1));
  CHECK_FALSE(same_bits(trained, untrained));
  void* data_there = nullptr;
  size_t size = 0;
  REQUIRE(sn_train_parameters(after_reset.session, &data_there, &size) == SN_OK);
  std::memcpy(data_there, kept.data(), size);
  CHECK(same_bits(after_reset.logits(data.batch_images(1, 1)), trained));
}

TEST_CASE("a training plan brings a check of its own, and the file keeps it") {
  Model source = trainable_model_of(kSmall);
  const TrainingCheck& check = source.plans[1].check;
  REQUIRE(check.losses.size() == 5);
  CHECK(check.labels.size() == 2);
  CHECK(check.losses.back() < check.losses.front());
  const std::vector<uint8_t> bytes = bytes_of(source);
  Board board(bytes);
  float error = -1;
  sn_message why{sizeof why, ""};
  CHECK_MESSAGE(sn_train_verify(board.session, &error, &why) == SN_OK, why.text);
  CHECK(error >= 0);
  CHECK(error < 1e-5f);
  // As after sn_prepare: a repetition gives the same.
  CHECK(same_bits(board.parameters(), Board(bytes).parameters()));
  float again = -1;
  CHECK(sn_train_verify(board.session, &again, nullptr) == SN_OK);
  CHECK(again == error);

  const auto read = load_model(bytes.data(), bytes.size(), nullptr, "bytes");
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(bytes_of(*read) == bytes);
  REQUIRE(read->plans.size() == 2);
  CHECK(read->plans[1].trains);
  CHECK(read->plans[1].check.losses == check.losses);
  auto session = Session::create(*read, {});
  REQUIRE(session.ok());
  CHECK(session->outputs().size() == 1);

  source.plans[1].check.losses[3] *= 1.01f;
  Board other(bytes_of(source));
  CHECK(sn_train_verify(other.session, &error, &why) == SN_DIFFERENT);
  CHECK(error == doctest::Approx(0.01).epsilon(0.05));
  CHECK(std::string(why.text) == "training check: a loss is beyond its tolerance");
  source.plans[1].check = {};
  Board none(bytes_of(source));
  CHECK(sn_train_verify(none.session, &error, &why) == SN_NOT_FOUND);
}

TEST_CASE("training calls that make no sense are refused") {
  const Model source = trainable_model_of(kSmall);
  const std::vector<uint8_t> bytes = bytes_of(source);
  Board board(bytes);
  Room model(bytes);
  Room memory(needs_of(model).memory_bytes);
  sn_session* inference = prepared(model, memory);
  const sn_train_options good = sgd(0.1f);
  void* data = nullptr;
  size_t size = 0;
  for (sn_session* session : {inference, static_cast<sn_session*>(nullptr)}) {
    CHECK(sn_train_add(session, 0, nullptr, nullptr) == SN_INVALID_ARGUMENT);
    CHECK(sn_train_update(session, &good, nullptr, nullptr) == SN_INVALID_ARGUMENT);
    CHECK(sn_train_parameters(session, &data, &size) == SN_INVALID_ARGUMENT);
    CHECK(sn_train_verify(session, nullptr, nullptr) == SN_INVALID_ARGUMENT);
  }
  sn_message why{sizeof why, ""};
  const std::vector<float> before = board.parameters();
  CHECK(sn_train_update(board.session, &good, nullptr, &why) == SN_INVALID_ARGUMENT);
  CHECK(std::string(why.text) == "training: expected an image since the last update");
  CHECK(sn_train_add(board.session, 10, nullptr, &why) == SN_INVALID_ARGUMENT);
  CHECK(std::string(why.text) == "label: expected 0 to 9, found 10");
  board.add(train_data(1, 10), 0);
  const float nan = std::nanf("");
  for (const sn_train_options& bad : {sgd(-1.f), sgd(nan), sgd(std::numeric_limits<float>::infinity()),
                                      sn_train_options{sizeof(sn_train_options), 0.1f, 1.f, 0.f, 0},
                                      sn_train_options{sizeof(sn_train_options), 0.1f, 0.f, -0.1f, 0}}) {
    CHECK(sn_train_update(board.session, &bad, nullptr, &why) == SN_INVALID_ARGUMENT);
    CHECK(std::string(why.text).rfind("training: expected a learning rate", 0) == 0);
  }
  for (const sn_train_options& bad : {sgd(1e6f), sgd(-0.f - 1e-30f)}) {
    CHECK(sn_train_update(board.session, &bad, nullptr, &why) == SN_INVALID_ARGUMENT);
  }
  sn_train_options cut = good;
  cut.struct_size = offsetof(sn_train_options, nesterov);
  for (const sn_train_options* bad :
       {static_cast<const sn_train_options*>(nullptr), &static_cast<const sn_train_options&>(cut)}) {
    CHECK(sn_train_update(board.session, bad, nullptr, &why) == SN_INVALID_ARGUMENT);
    CHECK(std::string(why.text) == "training: expected options, of at least 20 bytes");
  }
  CHECK(same_bits(board.parameters(), before));
  // Options of a later header, with additional members that this library does not know.
  struct Later {
    sn_train_options known;
    float more[4];
  } later{good, {}};
  later.known.struct_size = sizeof later;
  CHECK(sn_train_update(board.session, &later.known, nullptr, &why) == SN_OK);  // the image is still counted
  CHECK(sn_verify(board.session, 0, nullptr, &why) == SN_UNSUPPORTED);

  Model plain = source;
  plain.plans.pop_back();
  Room without(bytes_of(plain));
  const sn_options options = training_options();
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  CHECK(sn_measure(without.at(), without.bytes(), &options, &needs, &why) == SN_UNSUPPORTED);
  CHECK(std::string(why.text) ==
        "model: holds no training plan portable-f32 for batch 1; `sparsenet-convert MODEL --plan portable-f32 "
        "--training-plan -o DEVICE` adds one");
}

TEST_CASE("an image whose loss is not finite does not count") {
  const std::vector<uint8_t> bytes = bytes_of(trainable_model_of(kSmall, 0));
  Board board(bytes), expected(bytes);
  const TrainData data = train_data(2, 10);
  board.add(data, 0);
  const std::vector<float> bad(3 * 32 * 32, std::nanf(""));
  REQUIRE(sn_set_input(board.session, 0, bad.data(), bad.size()) == SN_OK);
  sn_message why{sizeof why, ""};
  CHECK(sn_train_add(board.session, 0, nullptr, &why) == SN_NOT_FINITE);
  CHECK(std::string(why.text) == "the loss is not finite; the image does not count");
  board.add(data, 1);
  expected.add(data, 0);
  expected.add(data, 1);
  CHECK(board.update(0.1f) == expected.update(0.1f));
  CHECK(same_bits(board.parameters(), expected.parameters()));

  // Gradients whose sum of squares is not finite: what they would have changed stays.
  const std::vector<float> huge(3 * 32 * 32, 1e22f);
  REQUIRE(sn_set_input(board.session, 0, huge.data(), huge.size()) == SN_OK);
  REQUIRE(sn_train_add(board.session, 3, nullptr, nullptr) == SN_OK);
  const std::vector<float> kept = board.parameters();
  const sn_train_options o = sgd(0.1f);
  CHECK(sn_train_update(board.session, &o, nullptr, &why) == SN_NOT_FINITE);
  CHECK(std::string(why.text) == "the gradients are not finite; the parameters stay as they were");
  CHECK(same_bits(board.parameters(), kept));
  CHECK(sn_train_update(board.session, &o, nullptr, &why) == SN_INVALID_ARGUMENT);  // the image has been discarded
}

TEST_CASE("what cannot be trained on a device is refused by name") {
  Model wrong = trainable_model_of(kSmall);
  wrong.test_vectors[1].inputs[0] = Tensor::from({1, 3, 8, 8}, std::vector<float>(192));
  CHECK(make_training_plan(wrong, kTarget).status().message().find("test vector 1") != std::string::npos);
  wrong.test_vectors[1] = {};
  CHECK_FALSE(make_training_plan(wrong, kTarget).ok());
  Model model;
  model.graph.outputs = {model.graph.add_input("x", {1, 4})};
  CHECK_FALSE(make_training_plan(model, kTarget).ok());
  CHECK(make_training_plan(trainable_model_of(kSmall, 0), "cortex-m55").status().message().find("portable-f32") !=
        std::string::npos);
  // A layer after the head without a gradient that a plan could hold.
  Graph g;
  ValueId x = g.add_input("x", {1, 4});
  x = g.add_node(Op::kFullyConnected, "fc", {x, g.add_constant("w", ramp({3, 4})), g.add_constant("b", ramp({3}))},
                 FullyConnectedAttrs{});
  x = g.add_node(Op::kTanh, "tanh behind", {x});
  g.outputs = {x};
  model.graph = std::move(g);
  const Status status = make_training_plan(model, kTarget).status();
  CHECK(status.code() == StatusCode::kUnsupported);
  CHECK_MESSAGE(status.message().find("stored plans cannot hold") != std::string::npos, status.message());
}

TEST_CASE("training steps that would leave their memory are refused by name") {
  const Model source = trainable_model_of(kSmall, 0);
  const auto refused = [&](rt::StepOp op, const std::string& part,
                           const std::function<void(Plan&, rt::Step&)>& change) {
    Model model = source;
    auto training = make_training_plan(model, kTarget);
    REQUIRE(training.ok());
    model.plans = {std::move(*training)};
    auto& plan = const_cast<Plan&>(*model.plans[0].plan);
    REQUIRE(serialize_model(model).ok());
    rt::Step* step = nullptr;
    for (rt::Step& s : plan.steps) {
      if (s.op == op) step = &s;
    }
    REQUIRE(step != nullptr);
    change(plan, *step);
    const Status status = serialize_model(model).status();
    CAPTURE(part);
    CAPTURE(status.message());
    CHECK(status.code() == StatusCode::kInvalidModel);
    CHECK(status.message().find("plan 0 for portable-f32") != std::string::npos);
    CHECK(status.message().find(part) != std::string::npos);
  };
  const auto operand = [](rt::Step& s, int i) -> rt::View& { return const_cast<rt::View&>(s.train.operands[i]); };
  const auto piece = [&](rt::Step& s, int i) -> rt::Segment& {
    return const_cast<rt::Segment&>(operand(s, i).segments[0]);
  };
  using Op = rt::StepOp;
  refused(Op::kCrossEntropy, "another number of operands", [](Plan&, rt::Step& s) { s.train.operand_count = 3; });
  refused(Op::kCrossEntropy, "smoothing", [](Plan&, rt::Step& s) { s.train.alpha = 1.f; });
  refused(Op::kCrossEntropy, "smoothing", [](Plan&, rt::Step& s) { s.train.beta = std::nanf(""); });
  refused(Op::kCrossEntropy, "size", [&](Plan&, rt::Step& s) { operand(s, 2).c = piece(s, 2).channels = 1; });
  refused(Op::kCrossEntropy, "leaves the arena", [&](Plan& p, rt::Step& s) { piece(s, 3).offset = p.arena_bytes; });
  refused(Op::kAccumulate, "size", [&](Plan&, rt::Step& s) { operand(s, 1).c = piece(s, 1).channels = 1; });
  refused(Op::kSquareSum, "size", [&](Plan&, rt::Step& s) { operand(s, 1).c = piece(s, 1).channels = 8; });
  refused(Op::kUpdateSgd, "decayed", [](Plan&, rt::Step& s) { s.train.alpha = 1e6f; });
  refused(Op::kUpdateSgd, "decayed", [](Plan&, rt::Step& s) { s.train.alpha = -1.f; });
  refused(Op::kUpdateSgd, "size", [&](Plan&, rt::Step& s) { operand(s, 2).c = piece(s, 2).channels = 16; });
  refused(Op::kConvGradWeight, "gradient of each weight",
          [](Plan&, rt::Step& s) { s.out.c = const_cast<rt::Segment&>(s.out.segments[0]).channels = 2; });
  refused(Op::kConvGradWeight, "gradient of each bias",
          [&](Plan&, rt::Step& s) { operand(s, 0).c = piece(s, 0).channels = 2; });
  refused(Op::kConvGradWeight, "cannot hold", [](Plan&, rt::Step& s) { s.op = Op::kConvGradInput; });
  refused(Op::kCrossEntropy, "cannot hold", [](Plan&, rt::Step& s) { s.op = Op::kUpdateAdam; });
  refused(Op::kCrossEntropy, "operands", [](Plan&, rt::Step& s) { s.op = Op::kConv; });
  refused(Op::kConvGradWeight, "without gaps", [](Plan&, rt::Step& s) {
    s.in2.h = s.in.h = 2;  // two pixels at the same place
    const_cast<rt::Segment&>(s.in2.segments[0]).pixel_stride = 0;
  });
  refused(Op::kAccumulate, "operands alone", [](Plan&, rt::Step& s) { s.out = s.train.operands[1]; });
  refused(Op::kSquareSum, "operands alone", [](Plan&, rt::Step& s) { s.in = s.train.operands[0]; });
  // Without its training part: the convolution with variable weights comes first.
  refused(Op::kUpdateSgd, "only plans that train", [](Plan& p, rt::Step&) { p.training.reset(); });
  refused(Op::kUpdateSgd, "weight for each", [](Plan& p, rt::Step&) { p.links[0].offset = p.arena_bytes; });
  const auto frame = [&](const std::string& part, const std::function<void(Plan&)>& change) {
    refused(Op::kUpdateSgd, part, [&](Plan& p, rt::Step&) { change(p); });
  };
  frame("phases", [](Plan& p) { p.training->layout.accumulate = p.training->layout.loss; });
  frame("phases", [](Plan& p) { p.training->layout.update = static_cast<int32_t>(p.steps.size()); });
  frame("region leaves", [](Plan& p) { p.training->layout.regions[2].offset = p.arena_bytes; });
  frame("as many gradients", [](Plan& p) { p.training->layout.regions[1].bytes -= 64; });
  frame("control", [](Plan& p) { p.training->layout.regions[rt::kStoredControl].bytes = 32; });
  frame("leaves its region", [](Plan& p) { p.training->parameters[0].offset += 1 << 20; });
  frame("leaves its constant", [](Plan& p) { p.training->parameters[0].elements += 1; });
  frame("image and a label", [](Plan& p) { p.outputs.pop_back(); });
  frame("graph's input and output", [](Plan& p) {
    p.outputs[0].shape = {1, 5}, p.outputs[0].view.c = 5,
    const_cast<rt::Segment*>(p.outputs[0].view.segments)->channels = 5;
  });
  frame("arena", [](Plan& p) { p.arena_bytes += 4096; });
}

TEST_CASE("training needs a plan of a version that has it") {
  std::vector<uint8_t> bytes = bytes_of(trainable_model_of(kSmall, 0));
  {
    Room model(bytes);
    rt::ModelFile file;
    const char* why = nullptr;
    REQUIRE(rt::open_model_file(model.at(), model.bytes(), &file, &why) == rt::FileState::kGood);
    auto* plan = reinterpret_cast<flatbuffers::Table*>(const_cast<schema::Plan*>(file.model->plans()->Get(1)));
    REQUIRE(plan->SetField<uint32_t>(schema::Plan::VT_VERSION, uint32_t{1}, 0));
    std::copy(model.at(), model.at() + model.bytes(), bytes.begin());
  }
  repair(bytes);
  Room model(bytes);
  const sn_options options = training_options();
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{sizeof why, ""};
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_INVALID_MODEL);
  CHECK(std::string(why.text) == "plan 1: expected version 2 or later of a plan that trains, found 1");
  CHECK_FALSE(load_model(model.at(), model.bytes(), nullptr, "bytes").ok());
}

TEST_CASE("damage to a training plan is refused, or harmless where the checksum is set right") {
  Model source = trainable_model_of(kSmall, 1);
  source.plans.erase(source.plans.begin());  // only the training plan remains
  const std::vector<uint8_t> good = bytes_of(source);
  const sn_options options = training_options();
  const auto places = static_cast<size_t>(scaled_by_effort(static_cast<int>(structure_of(good) / 3)));
  DamageCounts counts;
  run_damaged(good, structure_of(good) / places, {&options}, train_once, &counts);
  check_counts(counts);
}

TEST_CASE("a device is given both plans, the kernels of both, and no more memory than it says") {
  const Model source = trainable_model_of("sparsenet-abc-v0");
  const auto parts = make_device_parts(source);
  REQUIRE_MESSAGE(parts.ok(), parts.status().message());
  for (const char* kernel : {"kReferenceCrossEntropy", "kReferenceConvGradWeight", "kReferenceUpdateSgd"}) {
    CHECK(std::find(parts->kernels.begin(), parts->kernels.end(), kernel) != parts->kernels.end());
  }
  Board board(parts->file);
  CHECK(board.needs.arena_bytes == parts->training_arena_bytes);
  if (std::string(active_isa().name) == "compact") {  // a separate run, see CMakeLists.txt
    CHECK(board.needs.memory_bytes <= parts->training_memory_bytes);
    CHECK(board.needs.memory_bytes + 2048 > parts->training_memory_bytes);
  }
  sn_message why{sizeof why, ""};
  float error = -1;
  CHECK_MESSAGE(sn_train_verify(board.session, &error, &why) == SN_OK, why.text);
  CHECK(error < 1e-5f);
}
