// Sessions: networks that are ready to run.
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>
#include <sparsenet/backends.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "bindings/arrays.h"
#include "bindings/core.h"
#include "bindings/python_parts.h"
#include "bindings/status.h"
#include "cli/plan_svg.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

// Remarks of the engine, which become Python's warnings when the GIL is held again.
class Notes {
 public:
  void connect(SessionOptions* options) {
    options->note_self = this;
    options->note = [](void* self, const char* text) { static_cast<Notes*>(self)->texts_.emplace_back(text); };
  }
  void warn() {
    if (texts_.empty()) return;
    const std::vector<std::string> texts = std::move(texts_);
    texts_.clear();
    for (const std::string& text : texts) python_part("_errors", "warn")(text);
  }

 private:
  std::vector<std::string> texts_;
};

struct PySession {
  Notes notes;
  std::optional<Session> session;
  std::mutex mutex;  // taken without the GIL, so that no thread waits for one while it has the other

  // Runs `body` as this session's only user, without the GIL.
  template <class Body>
  void alone(Body body) {
    Status status;
    {
      const WithoutGil released;
      const std::lock_guard<std::mutex> lock(mutex);
      status = body(*session);
    }
    notes.warn();
    check(status);
  }
};

std::unique_ptr<PySession> make_session(const PyModel& held, const std::string& backend, const std::string& precision,
                                        nb::dict given) {
  const auto number = [&](const char* key) { return nb::cast<int64_t>(given[key]); };
  const auto yes = [&](const char* key) { return nb::cast<bool>(given[key]); };
  SessionOptions options;
  check(parse_backend(backend, &options));
  options.precision = take(parse_precision(precision));
  options.threads = static_cast<int>(std::clamp<int64_t>(number("threads"), -1, 1 << 20));
  options.batch = number("batch");
  options.images_at_once = number("images_at_once");
  options.optimize = yes("optimize");
  options.use_stored_plan = yes("stored_plan");
  options.flush_denormals = yes("flush_denormals");
  options.large_weights = yes("large_weights");
  options.strict = yes("strict");
  options.tensor_cores = yes("tensor_cores");
  options.tune = yes("tune");
  const std::string device_check = nb::cast<std::string>(given["device_check"]);
  options.device_check = device_check == "off"     ? DeviceCheck::kOff
                         : device_check == "steps" ? DeviceCheck::kSteps
                                                   : DeviceCheck::kOutputs;
  options.max_memory_bytes = static_cast<size_t>(std::max<int64_t>(0, number("max_memory")));
  auto made = std::make_unique<PySession>();
  made->notes.connect(&options);
  Result<Session> session = [&] {
    const WithoutGil released;
    return Session::create(held.model, options);
  }();
  made->notes.warn();
  check(held.path.empty() ? session.status() : session.status().with_context(held.path));
  made->session.emplace(std::move(*session));
  return made;
}

Status set_input(Session& session, size_t index, DataType type, const ReadArray& array) {
  if (type == DataType::kInt8) return session.set_input(index, array.data<int8_t>(), array.elements());
  if (type == DataType::kUInt8) return session.set_input(index, array.data<uint8_t>(), array.elements());
  return session.set_input(index, array.data<float>(), array.elements());
}

Status get_output(const Session& session, size_t index, DataType type, const WriteArray& array, size_t elements) {
  if (type == DataType::kInt8) return session.get_output(index, array.data<int8_t>(), elements);
  if (type == DataType::kUInt8) return session.get_output(index, array.data<uint8_t>(), elements);
  return session.get_output(index, array.data<float>(), elements);
}

size_t count(const TensorInfo& tensor) {
  return static_cast<size_t>(element_count(tensor.shape));
}

// One input, one output: the usual network, and the shortest way.
nb::object call(PySession& self, nb::handle x, nb::handle out) {
  const std::vector<TensorInfo>&inputs = self.session->inputs(), &outputs = self.session->outputs();
  if (inputs.size() != 1 || outputs.size() != 1) {
    check(invalid_argument("the network has " + std::to_string(inputs.size()) + " inputs and " +
                           std::to_string(outputs.size()) + " outputs: use run({name: array, ...})"));
  }
  const ReadArray in(x, inputs[0].type, inputs[0].shape, inputs[0].name, true);
  const WriteArray result(out, outputs[0].type, outputs[0].shape, outputs[0].name);
  self.alone([&](Session& session) -> Status {
    SPARSENET_RETURN_IF_ERROR(set_input(session, 0, inputs[0].type, in));
    SPARSENET_RETURN_IF_ERROR(session.run());
    return get_output(session, 0, outputs[0].type, result, count(outputs[0]));
  });
  return result.object();
}

// Arrays for all inputs, in order; returns those of all outputs.
nb::list run(PySession& self, nb::list arrays, bool profiled) {
  const std::vector<TensorInfo>&inputs = self.session->inputs(), &outputs = self.session->outputs();
  if (arrays.size() != inputs.size()) {
    check(invalid_argument("expected " + std::to_string(inputs.size()) + " inputs, found " +
                           std::to_string(arrays.size())));
  }
  std::vector<std::unique_ptr<ReadArray>> in;
  for (size_t i = 0; i < inputs.size(); ++i) {
    in.push_back(std::make_unique<ReadArray>(arrays[i], inputs[i].type, inputs[i].shape, inputs[i].name, true));
  }
  std::vector<std::unique_ptr<WriteArray>> results;
  nb::list list;
  for (const TensorInfo& output : outputs) {
    results.push_back(std::make_unique<WriteArray>(nb::handle(), output.type, output.shape, output.name));
    list.append(results.back()->object());
  }
  self.alone([&](Session& session) -> Status {
    for (size_t i = 0; i < inputs.size(); ++i) {
      SPARSENET_RETURN_IF_ERROR(set_input(session, i, inputs[i].type, *in[i]));
    }
    SPARSENET_RETURN_IF_ERROR(profiled ? session.run_profiled() : session.run());
    for (size_t i = 0; i < outputs.size(); ++i) {
      SPARSENET_RETURN_IF_ERROR(get_output(session, i, outputs[i].type, *results[i], count(outputs[i])));
    }
    return {};
  });
  return list;
}

nb::list tensors(const std::vector<TensorInfo>& infos) {
  nb::list list;
  for (const TensorInfo& info : infos) list.append(describe(info));
  return list;
}

nb::str plan_svg(PySession& self, const nb::bytes& title) {
  const Session& session = *self.session;
  return to_text(cli::draw_plan(bytes_of(title), session.buffers(), session.steps(), session.memory()));
}

nb::list backends() {
  std::vector<BackendInfo> found;
  {
    const WithoutGil released;
    found = list_backends();
  }
  nb::list list;
  for (const BackendInfo& backend : found) {
    nb::list devices;
    for (const DeviceInfo& device : backend.devices) {
      nb::dict entry;
      entry["name"] = to_text(device.name);
      entry["vendor"] = to_text(device.vendor);
      entry["driver"] = to_text(device.driver);
      entry["units"] = device.units;
      entry["memory_bytes"] = device.memory_bytes;
      entry["max_allocation_bytes"] = device.max_allocation_bytes;
      devices.append(entry);
    }
    nb::dict entry;
    entry["name"] = to_text(backend.name);
    entry["version"] = to_text(backend.version);
    entry["path"] = to_text(backend.path);
    entry["float16"] = backend.float16;
    entry["problem"] = to_text(backend.problem);
    entry["devices"] = devices;
    list.append(entry);
  }
  return list;
}

}  // namespace

void bind_sessions(nb::module_& module) {
  nb::class_<MemoryReport>(module, "MemoryReport")
      .def_ro("arena_bytes", &MemoryReport::arena_bytes)
      .def_ro("lower_bound_bytes", &MemoryReport::lower_bound_bytes)
      .def_ro("scratch_bytes", &MemoryReport::scratch_bytes)
      .def_ro("weights_bytes", &MemoryReport::weights_bytes)
      .def_ro("total_bytes", &MemoryReport::total_bytes);

  nb::class_<StepInfo>(module, "StepInfo")
      .def_prop_ro("name", [](const StepInfo& self) { return to_text(self.name); })
      .def_ro("op", &StepInfo::op)
      .def_ro("kernel", &StepInfo::kernel)
      .def_ro("backend", &StepInfo::backend)
      .def_ro("is_copy", &StepInfo::is_copy)
      .def_ro("milliseconds", &StepInfo::milliseconds)
      .def_ro("macs", &StepInfo::macs)
      .def_ro("reason", &StepInfo::reason);

  nb::class_<PySession>(module, "Session")
      .def("call", &call, nb::arg("x").none(), nb::arg("out").none() = nb::none())
      .def("run", &run, nb::arg("arrays"), nb::arg("profiled"))
      .def_prop_ro("inputs", [](const PySession& self) { return tensors(self.session->inputs()); })
      .def_prop_ro("outputs", [](const PySession& self) { return tensors(self.session->outputs()); })
      .def_prop_ro("memory", [](const PySession& self) { return self.session->memory(); })
      .def_prop_ro("steps", [](const PySession& self) { return self.session->steps(); })
      .def_prop_ro("threads", [](const PySession& self) { return self.session->threads(); })
      .def_prop_ro("images_at_once", [](const PySession& self) { return self.session->images_at_once(); })
      .def_prop_ro("stored_plan", [](const PySession& self) { return self.session->uses_stored_plan(); })
      .def("plan_svg", &plan_svg, nb::arg("title"));

  module.def("session", &make_session, nb::arg("model"), nb::arg("backend"), nb::arg("precision"), nb::arg("options"));
  module.def("backends", &backends);
}

}  // namespace sparsenet::python
