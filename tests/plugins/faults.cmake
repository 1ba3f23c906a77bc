# Planted faults: what sparsenet-plugin-check must find. Each has a name, what the output must contain, a text of the
# sample plugin, and what takes its place (see sparsenet_faulty_plugin in CMakeLists.txt).

# A process that a sanitizer ends is not killed by a signal.
set(crashed "(killed by signal|the plugin ended the process)")

# ---- Results

sparsenet_faulty_plugin(padding_before_affine "FAILED  conv:"
  [[if (y < 0 || y >= s->in->h || x < 0 || x >= s->in->w) continue;]]
  [[if (y < 0 || y >= s->in->h || x < 0 || x >= s->in->w) {
            for (c = 0; c < group_in && s->conv && s->affine; ++c) {
              sum += bounded(floats(p, s->affine->shift)[o / group_out * group_in + c], s->affine->low, s->affine->high) *
                     floats(p, s->conv->weight)[(((int64_t)o * group_in + c) * w->kernel_h + ky) * w->kernel_w + kx];
            }
            continue;
          }]])
sparsenet_faulty_plugin(pixel_stride_ignored "FAILED  affine:"
  [[pixel * s->pixel_stride + c]] [[pixel * s->channels + c]])
sparsenet_faulty_plugin(second_range_ignored "FAILED  pool:"
  [[for (; c >= s->channels; ++s) c -= s->channels;]] [[while (c >= s->channels) c -= s->channels;]])
sparsenet_faulty_plugin(residual_dropped "FAILED  conv:"
  [[if (s->in2) sum += *sample_at(p, s->in2, pixel, o);]] "")
sparsenet_faulty_plugin(groups_ignored "FAILED  conv:"
  [[o / group_out * group_in + c);]] [[c);]])
sparsenet_faulty_plugin(last_channel_left_out "FAILED  global_pool:"
  [[for (c = 0; c < s->out->c; ++c) {]] [[for (c = 0; c < s->out->c - 1; ++c) {]])
sparsenet_faulty_plugin(rough_gelu "FAILED  unary: expected .* activation 10"
  [[0.5f * x * erfcf(x * -0.707106781f)]] [[x / (1 + expf(-1.702f * x))]])
sparsenet_faulty_plugin(nan_becomes_a_bound "FAILED  not_finite: expected -?nan"
  [[return x < low ? low : x > high ? high : x;]] [[return fminf(fmaxf(x, low), high);]])
sparsenet_faulty_plugin(start_ignored "FAILED  strided_copy:"
  [[sample_at(p, s->in, 0, 0) + d->in_start;]] [[sample_at(p, s->in, 0, 0);]])
sparsenet_faulty_plugin(writes_outside "FAILED  conv: it wrote outside the output"
  [[*sample_at(p, s->out, pixel, o) = activate(sum, s->act);]]
  [[sample_at(p, s->out, pixel, o)[1] = 0;
      *sample_at(p, s->out, pixel, o) = activate(sum, s->act);]])
sparsenet_faulty_plugin(pixels_outermost "FAILED  inputs and outputs:"
  [[sample_at(p, v, n * pixels + i, c)]] [[sample_at(p, v, i * v->n + n, c)]])
sparsenet_faulty_plugin(second_run_differs "FAILED  repeated runs: the same inputs gave other bits"
  [[sample_runner(&p->plan.steps[i], &name)(p, &p->plan.steps[i]);
  return SNP_OK;]]
  [[sample_runner(&p->plan.steps[i], &name)(p, &p->plan.steps[i]);
  for (i = 0; i < p->needs.weights_bytes / 4; ++i) ((float*)(void*)p->weights)[i] += 1;
  return SNP_OK;]])
sparsenet_faulty_plugin(async_does_not_run "FAILED  run_async and wait: .* gave other bits than run"
  [[return run(p);]] [[return SNP_OK;]])

# ---- Copies and structures of other versions

sparsenet_faulty_plugin(constants_not_copied "FAILED  plan overwritten after prepare:"
  [[constant.data = keep(weights, constant.data, (size_t)constant_bytes(&constant));]]
  [[(void)keep(weights, constant.data, (size_t)constant_bytes(&constant));]])
sparsenet_faulty_plugin(views_not_copied "FAILED  plan overwritten after prepare:"
  [[step.in = keep_view(k, step.in);]] [[(void)keep_view(k, step.in);]])
sparsenet_faulty_plugin(arena_shared_by_plans "FAILED  two plans at a time:"
  [[return (constant < 0 ? p->arena]]
  [[static char shared[1 << 24];
  return (constant < 0 ? shared]])
sparsenet_faulty_plugin(own_size_of_segments "FAILED  longer structures:"
  [[SNP_AT(snp_segment, from->segments, i)]] [=[&from->segments[i]]=])
sparsenet_faulty_plugin(own_size_of_profiles "FAILED  profile:"
  [[(snp_step_profile*)SNP_AT(snp_step_profile, profiles, i)]] [=[&profiles[i]]=])
sparsenet_faulty_plugin(writes_short_structures "FAILED  short structures: ${crashed}"
  [[if ((structure)->struct_size < sizeof *(structure)) {]] [[if ((structure)->struct_size == 0) {]])
sparsenet_faulty_plugin(any_major "FAILED  host of another major version: a host of interface 2 was accepted"
  [[if (from->major != SNP_MAJOR) {]] [[if (from->major == 0) {]])
sparsenet_faulty_plugin(later_minor_refused "FAILED  host of a later minor version: the plugin refuses this host"
  [[if (from->major != SNP_MAJOR) {]] [[if (from->major != SNP_MAJOR || from->minor != SNP_MINOR) {]])
sparsenet_faulty_plugin(calls_missing_functions "FAILED  host without capabilities: ${crashed}"
  [[const int accounts = (host->capabilities & SNP_HOST_ACCOUNTS) != 0;]] [[const int accounts = 1;]])

# ---- Memory

sparsenet_faulty_plugin(forgets_release "FAILED  measured memory: after destroy.. the plugin keeps"
  [[if (host->capabilities & SNP_HOST_ACCOUNTS) host->release(host->self, memory, bytes);]] "")
sparsenet_faulty_plugin(leaks_after_failure "FAILED  refused memory: reservation [0-9]+ was refused: the plugin keeps"
  [[destroy(p); /* which leaves out what is not there */]] "")
sparsenet_faulty_plugin(ignores_refusal "FAILED  refused memory: reservation 0 was refused: expected status 3"
  [[if (accounts && host->reserve(host->self, memory, bytes) != SNP_OK) return NULL;]]
  [[if (accounts) host->reserve(host->self, memory, bytes);]])
sparsenet_faulty_plugin(measures_too_little "FAILED  measured memory: measure.. said"
  [[  size(plan, needs, &notes_bytes);]]
  [[  size(plan, needs, &notes_bytes);
  needs->weights_bytes /= 2;]])

# ---- Refusals

sparsenet_faulty_plugin(any_number_of_bytes "FAILED  wrong arguments: "
  [[if (bytes != port[index].bytes) {]] [[if (bytes == 1) {]])
sparsenet_faulty_plugin(device_out_of_range "FAILED  devices: ${crashed}.*describe_device"
  [[if (index < DEVICES) return SNP_OK;]]
  [[if (index < DEVICES) return SNP_OK;
  *(volatile int*)(uintptr_t)(index * 8) = 1;]])
sparsenet_faulty_plugin(claims_integers "FAILED  int8_conv: prepare.. failed"
  [[if (s->quant) return "steps that compute with integers are not supported";]] [[if (s->quant) return NULL;]])
sparsenet_faulty_plugin(claims_unknown_steps "FAILED  unknown numbers: supports.*unknown kind 10 was accepted"
  [[return NULL;
  }
}]]
  [[*name = "unknown";
      return run_pointwise;
  }
}]])
sparsenet_faulty_plugin(gives_no_reason "FAILED  unknown numbers: .*gives no reason"
  [[return error_text;]] [[return "";]])
sparsenet_faulty_plugin(reason_of_all_threads "FAILED  several threads: .*another thread"
  [[static THREAD_LOCAL char error_text[256];]] [[static char error_text[256];]])
sparsenet_faulty_plugin(text_too_long "FAILED  requirements: ${crashed}"
  [[snprintf(text, capacity, "sample]] [[snprintf(text, 100, "sample]])
sparsenet_faulty_plugin(hangs "FAILED  profile: no answer within 1 seconds"
  [[const clock_t start = clock();]]
  [[const clock_t start = clock();
    while (i > 0) run(p, &p->plan.steps[i]);]]
  --only profile --timeout 1)
sparsenet_faulty_plugin(nothing "-       network:"
  [[if (s->quant) return]] [[if (1) return]])
set_tests_properties(plugin_check_nothing PROPERTIES
  PASS_REGULAR_EXPRESSION "not conformant: the plugin supports no step at all")
