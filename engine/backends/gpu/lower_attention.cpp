// Channel attention: see kernels/attention.cl.
#include "backends/gpu/index_space.h"
#include "backends/gpu/kernels/attention_params.h"
#include "backends/gpu/lower_pool.h"

namespace sparsenet::gpu {
namespace {

constexpr uint64_t kColumns = 32;    // outputs of a product in a group
constexpr int kMostChannels = 1024;  // channels and hidden values of the form in one launch

// A matrix [outputs][inputs] as elements [inputs][outputs], which neighbouring threads read along neighbours.
uint32_t transposed(const snp_parameter& parameter, int outputs, int inputs, Builder& builder) {
  const auto rows = static_cast<size_t>(outputs), columns = static_cast<size_t>(inputs);
  const std::vector<float> from = builder.floats_of(parameter, uint64_t{rows} * columns);
  std::vector<float> to(from.size());
  if (from.size() == rows * columns) {
    for (size_t i = 0; i < rows; ++i)
      for (size_t k = 0; k < columns; ++k) to[k * rows + i] = from[i * columns + k];
  }
  return builder.weight_elements(to);
}

void launch_product(AttentionParams p, int second, Builder& builder) {
  p.second = second;
  const int middle = p.hidden != 0 ? p.hidden : p.channels;
  const auto outputs = static_cast<uint64_t>(second ? p.channels : middle);
  const auto inputs = static_cast<uint64_t>(!second ? p.channels : p.hidden != 0 ? p.hidden : 2 * p.channels);
  const uint64_t groups = static_cast<uint64_t>(p.images) * divide_up(outputs, kColumns);
  Launch& launch =
      builder.launch("attention", "attention_product", "", {static_cast<uint32_t>(groups), 1, 1}, {256, 1, 1}, p);
  launch.bytes_read = outputs * inputs * builder.element_bytes();
  launch.bytes_written = static_cast<uint64_t>(p.images) * outputs * 4;
}

}  // namespace

const char* lower_attention(const snp_step& step, Builder& builder) {
  if (!step.attention) return "it has no attention";
  const snp_attention& a = *step.attention;
  const snp_view& in = *step.in;
  if (!same_size(in, *step.out)) return "expected an output of the input's size";
  if (a.hidden < 0) return "its number of hidden values is negative";
  const int c = in.c, r = a.hidden;
  if (c > (1 << 16) || r > (1 << 16)) return "it has more than 65536 channels or hidden values";
  for (int i = 0; i < (r == 0 ? 8 : 4); ++i)
    if (!a.params[i]) return "it lacks parameters";

  AttentionParams p{};
  p.in = builder.view(in);
  p.out = builder.view(*step.out);
  p.images = in.n;
  p.pixels = in.h * in.w;
  p.channels = c;
  p.hidden = r;
  p.act = Builder::activation(a.act);
  p.gate = Builder::activation(a.gate);
  const auto vector = [&](int i, int count) {
    return builder.weight_floats(builder.floats_of(*a.params[i], static_cast<uint64_t>(count)));
  };
  if (r == 0) {
    p.scale1 = vector(0, c);
    p.shift1 = vector(1, c);
    p.weight1 = transposed(*a.params[2], c, c, builder);
    p.bias1 = vector(3, c);
    p.scale2 = vector(4, 2 * c);
    p.shift2 = vector(5, 2 * c);
    p.weight2 = transposed(*a.params[6], c, 2 * c, builder);
    p.bias2 = vector(7, c);
  } else {
    p.weight1 = transposed(*a.params[0], r, c, builder);
    p.bias1 = vector(1, r);
    p.weight2 = transposed(*a.params[2], c, r, builder);
    p.bias2 = vector(3, c);
  }

  const auto channels = static_cast<uint64_t>(c), hidden = static_cast<uint64_t>(r == 0 ? c : r);
  const uint64_t elements = static_cast<uint64_t>(p.pixels) * channels;
  const uint64_t weights = r == 0 ? 3 * channels * channels : 2 * channels * hidden;
  if (c <= kMostChannels && r <= kMostChannels) {
    // A group alone takes about as long for this much as three more launches do.
    const int fixed = elements <= 16384 && weights <= 65536 ? 1 : 0;
    const std::string key = "attention " + std::to_string(in.n) + "x" + std::to_string(p.pixels) + "x" +
                            std::to_string(c) + " hidden " + std::to_string(r);
    if (builder.choose(key, 2, fixed) == 1) {
      Launch& launch =
          builder.launch("attention", "attention_small", "", {static_cast<uint32_t>(in.n), 1, 1}, {256, 1, 1}, p);
      launch.bytes_read = 2 * bytes_of(in, builder) + weights * builder.element_bytes();
      launch.bytes_written = bytes_of(in, builder);
      return nullptr;
    }
  }
  const auto images = static_cast<uint64_t>(in.n);
  p.means = builder.scratch(images * channels * 4);
  p.middle = builder.scratch(images * hidden * 4);
  p.gates = builder.scratch(images * channels * 4);
  GlobalPoolParams pool{};
  pool.to_scratch = 1;
  pool.means = p.means;
  pool.act = Builder::activation(nullptr);
  launch_global_pool(in, p.pixels, pool, builder);
  launch_product(p, 0, builder);
  launch_product(p, 1, builder);
  p.width = in_fours(in) && in_fours(*step.out) ? 4 : 1;
  const uint64_t items = elements_of(in) / static_cast<uint64_t>(p.width);
  Launch& launch = builder.launch("attention", "attention_scale", "", {divide_up(items, 256), 1, 1}, {256, 1, 1}, p);
  launch.bytes_read = bytes_of(in, builder);
  launch.bytes_written = bytes_of(in, builder);
  return nullptr;
}

}  // namespace sparsenet::gpu
