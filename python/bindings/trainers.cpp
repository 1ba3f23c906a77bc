// Trainers, and what a training loop needs besides.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>
#include <sparsenet/train_tools.h>
#include <sparsenet/trainer.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "bindings/arrays.h"
#include "bindings/core.h"
#include "bindings/python_parts.h"
#include "bindings/status.h"
#include "cli/plot_svg.h"
#include "cli/train_loop.h"
#include "cli/train_start.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

struct PyTrainer {
  std::optional<Trainer> trainer;
  Shape input;  // with the trainer's batch
  std::mutex mutex;

  template <class Body>
  void alone(Body body) {
    Status status;
    {
      const WithoutGil released;
      const std::lock_guard<std::mutex> lock(mutex);
      status = body(*trainer);
    }
    check(status);
  }
};

Result<Optimizer> parse_optimizer(const std::string& text) {
  if (text == "sgd") return Optimizer::kSgd;
  if (text == "adam") return Optimizer::kAdam;
  if (text == "adamw") return Optimizer::kAdamW;
  return invalid_argument("optimizer: expected sgd, adam or adamw, found '" + text + "'");
}

Result<Schedule> parse_schedule(const std::string& text) {
  if (text == "paper") return Schedule::kPaper;
  if (text == "paper-svhn") return Schedule::kPaperSvhn;
  if (text == "cosine") return Schedule::kCosine;
  if (text == "onecycle") return Schedule::kOneCycle;
  if (text == "constant") return Schedule::kConstant;
  return invalid_argument("schedule: expected paper, paper-svhn, cosine, onecycle or constant, found '" + text + "'");
}

std::unique_ptr<PyTrainer> make_trainer(const PyModel& held, nb::dict given) {
  const auto number = [&](const char* key) { return nb::cast<int64_t>(given[key]); };
  const auto real = [&](const char* key) { return static_cast<float>(nb::cast<double>(given[key])); };
  const auto text = [&](const char* key) { return nb::cast<std::string>(given[key]); };
  TrainOptions options;
  options.batch = number("batch");
  options.threads = static_cast<int>(std::clamp<int64_t>(number("threads"), -1, 1 << 20));
  options.optimizer = take(parse_optimizer(text("optimizer")));
  options.momentum = real("momentum");
  options.nesterov = nb::cast<bool>(given["nesterov"]);
  options.beta1 = real("beta1");
  options.beta2 = real("beta2");
  options.epsilon = real("epsilon");
  options.weight_decay = real("weight_decay");
  options.decay_all = nb::cast<bool>(given["decay_all"]);
  options.label_smoothing = real("label_smoothing");
  options.clip_norm = real("clip");
  options.accumulate = static_cast<int>(std::clamp<int64_t>(number("accumulate"), -1, 1 << 30));
  options.freeze = text("freeze");
  options.memory_budget = static_cast<size_t>(std::max<int64_t>(0, number("memory_budget")));
  options.max_memory_bytes = static_cast<size_t>(std::max<int64_t>(0, number("max_memory")));
  SessionOptions backend;
  check(parse_backend(text("backend"), &backend));
  options.backend = backend.backend;
  auto made = std::make_unique<PyTrainer>();
  Result<Trainer> trainer = [&] {
    const WithoutGil released;
    return Trainer::create(held.model.graph, options);
  }();
  check(held.path.empty() ? trainer.status() : trainer.status().with_context(held.path));
  made->trainer.emplace(std::move(*trainer));
  made->input = held.model.graph.shape(held.model.graph.inputs[0]);
  made->input[0] = options.batch;
  return made;
}

nb::tuple step(PyTrainer& self, nb::handle images, nb::handle labels, double rate) {
  const ReadArray x(images, DataType::kFloat32, self.input, "images");
  const ReadArray y(labels, DataType::kInt32, {self.input[0]}, "labels");
  TrainStep result;
  self.alone([&](Trainer& trainer) -> Status {
    SPARSENET_ASSIGN_OR_RETURN(result, trainer.step(x.data<float>(), y.data<int32_t>(), static_cast<float>(rate)));
    return {};
  });
  return nb::make_tuple(result.loss, result.correct, result.images, result.updated);
}

// The model with the trainer's parameters: `base` states everything but the graph. Its test vectors, whose outputs
// belonged to the old parameters, are computed anew by the reference kernels, which takes a while, or left out.
std::unique_ptr<PyModel> trained_model(PyTrainer& self, const PyModel& base, bool test_vectors) {
  auto made = std::make_unique<PyModel>();
  made->model.metadata = base.model.metadata;
  if (test_vectors) made->model.test_vectors = base.model.test_vectors;
  self.alone([&](Trainer& trainer) -> Status {
    SPARSENET_ASSIGN_OR_RETURN(made->model.graph, trainer.graph());
    return made->model.test_vectors.empty() ? Status() : cli::renew_test_vectors(made->model);
  });
  return made;
}

nb::object values_of(PyTrainer& self, size_t index, bool gradient) {
  const std::vector<ParameterInfo>& all = self.trainer->parameters();
  if (index >= all.size()) check(invalid_argument("parameter " + std::to_string(index) + " does not exist"));
  const WriteArray out(nb::handle(), DataType::kFloat32, all[index].shape, all[index].name);
  const auto elements = static_cast<size_t>(element_count(all[index].shape));
  self.alone([&](Trainer& trainer) {
    return gradient ? trainer.get_gradient(index, out.data<float>(), elements)
                    : trainer.get_parameter(index, out.data<float>(), elements);
  });
  return out.object();
}

nb::dict memory(const PyTrainer& self) {
  const TrainMemory m = self.trainer->memory();
  nb::dict all;
  all["arena_bytes"] = m.arena_bytes;
  all["parameter_bytes"] = m.parameter_bytes;
  all["lower_bound_bytes"] = m.lower_bound_bytes;
  all["scratch_bytes"] = m.scratch_bytes;
  all["packed_bytes"] = m.packed_bytes;
  all["micro_batch"] = m.micro_batch;
  all["recomputed"] = m.recomputed;
  all["extra_macs"] = m.extra_macs;
  return all;
}

void save(PyTrainer& self, const nb::bytes& where, const Checkpoint& checkpoint) {
  const std::string path = bytes_of(where);
  self.alone([&](Trainer& trainer) -> Status {
    SPARSENET_ASSIGN_OR_RETURN(const Graph graph, trainer.graph_view());
    // A loss can be finite while a weight that the same step wrote is not: such a state is no good checkpoint.
    SPARSENET_RETURN_IF_ERROR(cli::check_finite(graph).with_context(path));
    return save_checkpoint(
        path, checkpoint, trainer.state_bytes(),
        [&](void* data, size_t size) { return trainer.save_state(data, size); }, trainer.idle_memory());
  });
}

void restore(PyTrainer& self, const Checkpoint& checkpoint) {
  self.alone([&](Trainer& trainer) { return trainer.load_state(checkpoint.state.data(), checkpoint.state.size()); });
}

nb::object epoch_order_array(int64_t images, uint64_t seed, int64_t epoch) {
  const WriteArray out(nb::handle(), DataType::kInt64, {images}, "order");
  const std::vector<uint32_t> order = epoch_order(images, seed, epoch);
  std::copy(order.begin(), order.end(), out.data<int64_t>());
  return out.object();
}

// Crops and flips every image of a batch; `indices` are their places in the data set.
nb::object crop_flip(nb::handle images, nb::handle indices, uint64_t seed, int64_t epoch, int pad) {
  const ReadArray in(images, DataType::kFloat32, {}, "images");
  const Shape shape = in.shape();
  if (shape.size() != 4) check(invalid_argument("augment: expected images [N, C, H, W], found " + to_string(shape)));
  const ReadArray places(indices, DataType::kInt64, {shape[0]}, "indices");
  const WriteArray out(nb::handle(), DataType::kFloat32, shape, "images");
  {
    const WithoutGil released;
    const int64_t each = shape[1] * shape[2] * shape[3];
    for (int64_t i = 0; i < shape[0]; ++i) {
      const CropFlip what = draw_crop_flip(seed, epoch, places.data<int64_t>()[i], pad);
      apply_crop_flip(what, in.data<float>() + i * each, static_cast<int>(shape[1]), static_cast<int>(shape[2]),
                      static_cast<int>(shape[3]), out.data<float>() + i * each);
    }
  }
  return out.object();
}

std::string plot(const std::string& title, const std::string& x_label, double x_end, nb::list panels) {
  std::vector<cli::PlotPanel> all;
  for (const nb::handle panel : panels) {
    const auto [label, series] = nb::cast<std::pair<std::string, nb::list>>(panel);
    all.push_back({label, {}});
    for (const nb::handle curve : series) {
      auto [name, points] = nb::cast<std::pair<std::string, std::vector<std::pair<double, double>>>>(curve);
      all.back().series.push_back({name, std::move(points)});
    }
  }
  return cli::draw_plot(title, x_label, x_end, all);
}

}  // namespace

void bind_trainers(nb::module_& module) {
  nb::class_<EpochRecord>(module, "EpochRecord")
      .def(nb::init<>())
      .def_rw("train_loss", &EpochRecord::train_loss)
      .def_rw("train_error", &EpochRecord::train_error)
      .def_rw("test_error", &EpochRecord::test_error)
      .def_rw("learning_rate", &EpochRecord::learning_rate)
      .def_rw("seconds", &EpochRecord::seconds)
      .def_rw("images", &EpochRecord::images);

  nb::class_<Checkpoint>(module, "Checkpoint")
      .def(nb::init<>())
      .def_rw("settings", &Checkpoint::settings)
      .def_rw("step", &Checkpoint::step)
      .def_rw("epochs", &Checkpoint::epochs)
      .def_rw("loss_sum", &Checkpoint::loss_sum)
      .def_rw("seconds", &Checkpoint::seconds)
      .def_rw("correct", &Checkpoint::correct)
      .def_rw("images", &Checkpoint::images)
      .def_rw("has_step_losses", &Checkpoint::has_step_losses)
      .def_rw("step_losses", &Checkpoint::step_losses);

  nb::class_<PyTrainer>(module, "Trainer")
      .def("step", &step, nb::arg("images"), nb::arg("labels"), nb::arg("lr"))
      .def("model", &trained_model, nb::arg("base"), nb::arg("test_vectors"))
      .def_prop_ro("parameters",
                   [](const PyTrainer& self) {
                     nb::list list;
                     for (const ParameterInfo& p : self.trainer->parameters()) {
                       list.append(nb::make_tuple(to_text(p.name), to_tuple(p.shape), p.trained, p.decayed));
                     }
                     return list;
                   })
      .def("values", &values_of, nb::arg("index"), nb::arg("gradient"))
      .def_prop_ro("memory", &memory)
      .def_prop_ro("threads", [](const PyTrainer& self) { return self.trainer->threads(); })
      .def_prop_ro("classes", [](const PyTrainer& self) { return self.trainer->classes(); })
      .def_prop_ro("input_shape", [](const PyTrainer& self) { return to_tuple(self.input); })
      .def("save", &save, nb::arg("path"), nb::arg("checkpoint"))
      .def("restore", &restore, nb::arg("checkpoint"));

  module.def("trainer", &make_trainer, nb::arg("model"), nb::arg("options"));
  module.def("load_checkpoint", [](const nb::bytes& path) { return take(load_checkpoint(bytes_of(path))); });
  module.def("learning_rate", [](const std::string& schedule, double rate, int64_t epochs, int64_t steps,
                                 int64_t warmup, int64_t step) {
    return static_cast<double>(LearningRate{take(parse_schedule(schedule)), rate, epochs, steps, warmup}.at(step));
  });
  module.def("epoch_order", &epoch_order_array, nb::arg("images"), nb::arg("seed"), nb::arg("epoch"));
  module.def("crop_flip", &crop_flip, nb::arg("images"), nb::arg("indices"), nb::arg("seed"), nb::arg("epoch"),
             nb::arg("pad"));
  module.def("hash_array", [](nb::handle array, uint64_t before) {
    const ReadArray bytes(array, DataType::kUInt8, {}, "array");
    const WithoutGil released;
    return hash_bytes(bytes.bytes(), bytes.elements(), before);
  });
  module.def("plot", &plot, nb::arg("title"), nb::arg("x_label"), nb::arg("x_end"), nb::arg("panels"));
}

}  // namespace sparsenet::python
