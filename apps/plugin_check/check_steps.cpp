// Every kind of step, and small networks, against the engine's plain kernels.
#include "plugin_check/checks.h"
#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {
namespace {

// The largest error that is allowed, relative to the largest number of the result. Float16 has 11 significant bits: a
// half of the last one is 5e-4 of the number. TF32 has as many.
constexpr double kFloat32 = 1e-4, kHalf = 2e-3, kHalfNetwork = 1e-2, kTf32 = 4e-3;

struct Mode {
  const char* suffix;
  uint32_t precision = SNP_FLOAT32, flags = 0;
  bool half_parameters = false;
};

double tolerance(const Family& family, const Mode& mode) {
  if (mode.precision == SNP_FLOAT16) return family.network ? kHalfNetwork : kHalf;
  return mode.flags & SNP_TF32 ? kTf32 : kFloat32;
}

void check_family(const Family& family, const Mode& mode, Subject& subject, const Settings& settings,
                  Progress& progress) {
  snp_options options = subject.options(mode.precision);
  options.flags = mode.flags;
  uint64_t ran = 0;
  std::string against;
  for (uint64_t seed = 0; seed < settings.seeds; ++seed) {
    Case c = family.make(family.name, seed, mode.half_parameters);
    if (mode.precision == SNP_FLOAT16) c.round_to_half();
    progress.at(c.describe());
    Wire wire(c);
    const std::string reason = subject.why_not(wire.plan(), options);
    if (!reason.empty()) {
      if (against.empty()) subject.require_refused(wire.plan(), options, "a step that is not supported");
      against = reason;
      progress.count_unsupported(reason);
      continue;
    }
    Prepared prepared(subject, wire.plan(), options);
    wire.scramble();
    progress.count_case(compare(c, reference_run(c), prepared.result(c), tolerance(family, mode)));
    ++ran;
  }
  if (ran == 0) throw Skip(against);
}

void add(const Family& family, const Mode& mode, std::vector<Check>* all) {
  all->push_back({std::string(family.name) + mode.suffix,
                  [&family, mode](Subject& subject, const Settings& settings, Progress& progress) {
                    check_family(family, mode, subject, settings, progress);
                  },
                  true});
}

bool multiplies(const Family& family) {
  return family.make == make_conv || family.make == make_mat_mul;
}

}  // namespace

void add_step_checks(uint32_t capabilities, std::vector<Check>* all) {
  for (const Family& family : families()) add(family, {""}, all);
  for (const Family& family : families()) {
    if (multiplies(family)) add(family, {" tf32", SNP_FLOAT32, SNP_TF32}, all);
  }
  if (capabilities & SNP_READS_FLOAT16) {
    for (const Family& family : families()) {
      if (family.parameters) add(family, {" half_parameters", SNP_FLOAT32, 0, true}, all);
    }
  }
  if (capabilities & SNP_CAN_FLOAT16) {
    for (const Family& family : families()) add(family, {" float16", SNP_FLOAT16}, all);
    for (const Family& family : families()) {
      if (multiplies(family)) add(family, {" tensor_cores", SNP_FLOAT16, SNP_TENSOR_CORES}, all);
    }
  }
}

}  // namespace sparsenet::plugin_check
