// What a plugin must refuse, with a reason and without harm: numbers of later versions, and wrong arguments.
#include <cmath>
#include <functional>

#include "plugin_check/checks.h"
#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {
namespace {

void check_unknown_numbers(Subject& subject, const Settings&, Progress& progress) {
  const Case c = subject.supported_case(1);
  const snp_options options = subject.options();
  for (const uint32_t op : {10u, 32u, 37u, 4095u, UINT32_MAX}) {
    Wire wire(c);
    wire.step(0).op = op;
    progress.at(text("a step of unknown kind %u", op));
    subject.require_refused(wire.plan(), options, text("a step of unknown kind %u", op));
  }
  const snp_act act{sizeof(snp_act), 77, -INFINITY, INFINITY, 0, 0};
  Wire with_act(c);
  with_act.step(0).act = &act;
  progress.at("an unknown activation");
  subject.require_refused(with_act.plan(), options, "unknown activation 77");
  Wire with_type(c);
  snp_view view = *with_type.step(0).in;
  view.type = 77;
  with_type.step(0).in = &view;
  progress.at("an unknown type");
  subject.require_refused(with_type.plan(), options, "unknown type 77");
}

void check_unknown_arithmetic(Subject& subject, const Settings&, Progress&) {
  const Case c = make_binary("binary", 0, false);
  Wire wire(c);
  const std::string reason = subject.why_not(wire.plan(), subject.options());
  if (!reason.empty()) throw Skip(reason);
  wire.step(0).binary = 77;
  subject.require_refused(wire.plan(), subject.options(), "unknown arithmetic 77");
}

void check_unknown_options(Subject& subject, const Settings&, Progress& progress) {
  const Case c = subject.supported_case(1);
  const Wire wire(c);
  const auto refuse = [&](const char* what, const std::function<void(snp_options*)>& change) {
    snp_options options = subject.options();
    change(&options);
    progress.at(what);
    subject.require_refused(wire.plan(), options, what);
  };
  const uint32_t count = subject.devices();
  refuse("a device that is not there", [count](snp_options* o) { o->device = count; });
  refuse("device 4294967295", [](snp_options* o) { o->device = UINT32_MAX; });
  refuse("a precision of int8", [](snp_options* o) { o->precision = SNP_INT8; });
  refuse("unknown precision 77", [](snp_options* o) { o->precision = 77; });
  if (!subject.can(SNP_CAN_FLOAT16)) {
    refuse("a precision of float16 without SNP_CAN_FLOAT16", [](snp_options* o) { o->precision = SNP_FLOAT16; });
  }
}

// Of two steps, the plugin must name the one that it does not know.
void check_mixed_plan(Subject& subject, const Settings&, Progress&) {
  Case c = subject.supported_case(1);
  c.add(c.steps()[0]);
  Wire wire(c);
  wire.step(1).op = 4095;
  uint8_t supported[2] = {7, 7};
  const char* reasons[2] = {nullptr, nullptr};
  const snp_options options = subject.options();
  subject.require_ok(subject.plugin().supports(&wire.plan(), &options, supported, reasons), "supports");
  require(supported[0] == 1 && supported[1] == 0,
          text("supports(): of a known step and an unknown one, expected 1 and 0, found %u and %u", supported[0],
               supported[1]));
  require(reasons[1] && *reasons[1], "supports() gives no reason against an unknown step");
  subject.require_refused(wire.plan(), options, "a plan with an unknown step");
}

void check_arguments(Subject& subject, const Settings&, Progress& progress) {
  const Case c = subject.supported_case(1);
  const Wire wire(c);
  const snp_plugin& p = subject.plugin();
  Prepared prepared(subject, wire.plan(), subject.options());
  const uint64_t bytes = wire.plan().inputs[0].bytes;
  const auto ports = static_cast<uint32_t>(c.regions().size());
  const Guarded data(static_cast<size_t>(bytes));

  struct Call {
    uint32_t index;
    uint64_t bytes;
    uint32_t memory;
    bool has_data;
    const char* what;
  };
  std::vector<Call> calls = {{ports, bytes, SNP_HOST_MEMORY, true, "an index that is too large"},
                             {UINT32_MAX, bytes, SNP_HOST_MEMORY, true, "index 4294967295"},
                             {0, bytes - 4, SNP_HOST_MEMORY, true, "too few bytes"},
                             {0, 0, SNP_HOST_MEMORY, true, "no bytes"},
                             {0, bytes + 4, SNP_HOST_MEMORY, true, "too many bytes"},
                             {0, bytes, 77, true, "unknown memory 77"},
                             {0, bytes, SNP_HOST_MEMORY, false, "no address"}};
  if (!subject.can(SNP_CAN_DEVICE_POINTERS)) {
    calls.push_back({0, bytes, SNP_DEVICE_MEMORY, true, "device memory without SNP_CAN_DEVICE_POINTERS"});
  }
  for (const Call& call : calls) {
    uint8_t* at = call.has_data ? data.get() : nullptr;
    progress.at(std::string("set_input: ") + call.what);
    subject.require_refused(p.set_input(prepared.get(), call.index, at, call.bytes, call.memory),
                            {SNP_INVALID_ARGUMENT, SNP_UNSUPPORTED}, std::string("set_input(): ") + call.what);
    progress.at(std::string("get_output: ") + call.what);
    subject.require_refused(p.get_output(prepared.get(), call.index, at, call.bytes, call.memory),
                            {SNP_INVALID_ARGUMENT, SNP_UNSUPPORTED}, std::string("get_output(): ") + call.what);
  }
  progress.at("destroy(NULL)");
  p.destroy(nullptr);
  progress.at("a run after refusals");
  compare(c, reference_run(c), prepared.result(c), 1e-4);
}

// Structures of a later version are longer, and elements of arrays lie farther apart.
void check_longer_structures(Subject& subject, const Settings&, Progress& progress) {
  for (const uint32_t growth : {8u, 40u}) {
    for (const bool integers : {false, true}) {
      for (uint64_t seed = 0; seed < 6; ++seed) {
        const bool network = !integers && seed == 5;
        Case c = integers && !network ? make_int8_conv("int8_conv", seed, false) : make_conv("conv", seed, false);
        if (network) c = make_network("network", seed, false);
        const Wire probe(c);
        if (!subject.why_not(probe.plan(), subject.options()).empty()) {
          if (integers) continue;
          c = subject.supported_case(seed);
        }
        progress.at(text("structures %u bytes longer: ", growth) + c.describe());
        Wire wire(c, growth);
        const std::string reason = subject.why_not(wire.plan(), subject.options());
        require(reason.empty(), text("structures %u bytes longer: what is supported otherwise was refused: %s", growth,
                                     reason.c_str()));
        snp_options options = subject.options();
        Structures<snp_options> longer(1, growth);
        options.struct_size = longer[0].struct_size;
        longer[0] = options;
        Structures<snp_needs> needs(1, growth);
        subject.require_ok(subject.plugin().measure(&wire.plan(), longer.data(), needs.data()), "measure");
        require(subject.plugin().minor > SNP_MINOR || needs.intact(), "measure() wrote beyond the members it knows");
        Prepared prepared(subject, wire.plan(), *longer.data());
        compare(c, reference_run(c), prepared.result(c), 1e-4);
      }
    }
  }
}

}  // namespace

void add_refusal_checks(std::vector<Check>* all) {
  all->push_back({"unknown numbers", check_unknown_numbers});
  all->push_back({"unknown arithmetic", check_unknown_arithmetic});
  all->push_back({"unknown options", check_unknown_options});
  all->push_back({"plan that is supported in part", check_mixed_plan});
  all->push_back({"wrong arguments", check_arguments});
  all->push_back({"longer structures", check_longer_structures});
}

}  // namespace sparsenet::plugin_check
