// Convolutions and fully connected layers of integers: which kernel a step gets, and the weights in its order.
#include <algorithm>
#include <limits>

#include "backends/gpu/lower_integers.h"

namespace sparsenet::gpu {
namespace {

constexpr int32_t kMostRowPixels = 8;     // with up to so many pixels, threads share the sums of an output
constexpr int32_t kFewOutputs = 16;       // groups with fewer outputs have a thread for each
constexpr int32_t kMostInWindow = 16384;  // kernel, stride and dilation: products are far below 2^30

// A tile of the kernel integer_conv_tile.
struct Tile {
  int32_t pixels, outputs, words, pixel_blocks, output_blocks;
  double worth;  // products in a given time, where there are enough tiles for the device

  uint32_t group_x() const { return static_cast<uint32_t>(outputs / (4 * output_blocks)); }
  uint32_t group_y() const { return static_cast<uint32_t>(pixels / (4 * pixel_blocks)); }
};
constexpr Tile kTiles[] = {
    {32, 32, 16, 1, 1, 0.5},  {32, 64, 16, 1, 1, 0.7},  {128, 16, 8, 1, 1, 0.55}, {128, 32, 16, 1, 1, 0.75},
    {64, 64, 16, 1, 1, 0.85}, {128, 64, 16, 2, 1, 1.0}, {128, 128, 8, 2, 2, 1.1},
};
constexpr int kSmallTile = 0;
constexpr int kTileCount = sizeof kTiles / sizeof kTiles[0];

struct Conv {
  const snp_step& step;
  Builder& builder;
  int32_t groups, group_in, group_out, taps;
  std::vector<QuadCut> cuts{};  // of all groups, each with params.quads of them; the last ones of a group may be empty
  const int8_t* weight = nullptr;  // null if the builder only measures
  IntegerConvParams params{};
  std::string defines{};

  // Four weights: of an output for the channels of a quad of its group, at a tap.
  uint32_t word(int32_t output, int32_t tap, int32_t quad) const {
    const int32_t group = output / group_out;
    const QuadCut& cut =
        cuts[static_cast<size_t>(group) * static_cast<size_t>(params.quads) + static_cast<size_t>(quad)];
    uint32_t result = 0;
    for (int32_t i = 0; i < cut.count; ++i) {
      const int64_t channel = cut.channel - int64_t{group} * group_in + i;
      const int8_t w = weight[(int64_t{output} * group_in + channel) * taps + tap];
      result |= uint32_t{static_cast<uint8_t>(w)} << (8 * i);
    }
    return result;
  }

  // Places `count` words, each of which word_at(index) gives.
  template <class WordAt>
  void place_weights(uint64_t count, WordAt word_at) {
    std::vector<uint32_t> words;
    if (weight) {
      words.resize(static_cast<size_t>(count));
      for (size_t i = 0; i < words.size(); ++i) words[i] = word_at(static_cast<int64_t>(i));
    }
    params.weight = builder.weight_bytes(weight ? words.data() : nullptr, count * 4);
  }

  // How far a kernel that takes every `words`-th word of a sum moves at a time.
  void set_step(int32_t words) {
    params.step_quad = words % params.quads;
    params.step_column = words / params.quads % params.kernel_w;
    params.step_row = words / params.quads / params.kernel_w;
  }

  void launch(const char* entry, std::array<uint32_t, 3> groups_of_threads, std::array<uint32_t, 3> group,
              uint64_t bytes_read) {
    std::string all = builder.device().dot_product ? "-DDOT_PRODUCT" : "";
    if (step.quant->channels) all += all.empty() ? "-DSCALED" : " -DSCALED";
    if (!defines.empty()) all += all.empty() ? defines : " " + defines;
    Launch& launch = builder.launch("integers_conv", entry, all, groups_of_threads, group, params);
    launch.bytes_read = bytes_read + (step.in2 ? elements_of(*step.in2) : 0);
    launch.bytes_written = elements_of(*step.out);
  }
};

const char* check_shapes(const snp_step& step) {
  const snp_window& w = *step.window;
  for (const int32_t size : {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w})
    if (size < 1 || size > kMostInWindow) return "expected kernel, stride and dilation of 1 to 16384";
  for (const int32_t pad : {w.pad_top, w.pad_left, w.pad_bottom, w.pad_right})
    if (pad < 0 || pad > kMostInWindow) return "expected padding of 0 to 16384";
  const int32_t groups = step.conv->groups;
  if (groups < 1 || step.in->c % groups != 0 || step.out->c % groups != 0)
    return "expected groups that divide the channels of input and output";
  if (step.out->n != step.in->n) return "expected an output of the input's images";
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  const int64_t taps = int64_t{w.kernel_h} * w.kernel_w;
  // Each quad may have a single channel, and each channel be padded to a tile's outputs.
  if (taps * step.in->c > most / 4 || taps * (step.in->c / groups) * step.out->c > most)
    return "it has more weights than kernels count";
  return nullptr;
}

// Biases, with what the zero point of the input adds to each sum, and multipliers.
void place_factors(Conv* conv, const int32_t* bias) {
  const snp_quant& q = *conv->step.quant;
  const int32_t outputs = conv->step.out->c;
  std::vector<int32_t> factors(static_cast<size_t>(outputs) * 4);
  const int64_t count = int64_t{conv->group_in} * conv->taps;
  for (int32_t o = 0; o < outputs; ++o) {
    uint32_t sum = bias ? static_cast<uint32_t>(bias[o]) : 0;  // modulo 2^32
    for (int64_t i = 0; conv->weight && i < count; ++i)
      sum -= static_cast<uint32_t>(q.in_zero * conv->weight[int64_t{o} * count + i]);
    int32_t* factor = &factors[static_cast<size_t>(o) * 4];
    factor[0] = static_cast<int32_t>(sum);
    factor[1] = q.multipliers[2 * static_cast<ptrdiff_t>(o)];
    factor[2] = q.multipliers[2 * static_cast<ptrdiff_t>(o) + 1];
  }
  conv->params.factors = conv->builder.weight_bytes(factors.data(), factors.size() * 4);
}

// The quads of all groups, and with them the views of input, residual and output.
const char* place_views(Conv* conv) {
  const snp_step& step = conv->step;
  ByteView in, out, in2;
  if (const char* reason = in.place(*step.in, conv->builder)) return reason;
  if (const char* reason = out.place(*step.out, conv->builder)) return reason;
  if (!out.in_arena()) return "a convolution of integers writes its output in one piece";
  std::vector<std::vector<QuadCut>> groups(static_cast<size_t>(conv->groups));
  size_t quads = 0;
  for (int32_t g = 0; g < conv->groups; ++g) {
    std::vector<QuadCut>& cuts = groups[static_cast<size_t>(g)];
    cuts = cut_quads(g * conv->group_in, (g + 1) * conv->group_in, {&in});
    quads = std::max(quads, cuts.size());
  }
  for (std::vector<QuadCut>& cuts : groups) {
    cuts.resize(quads, {cuts[0].channel, 0});
    conv->cuts.insert(conv->cuts.end(), cuts.begin(), cuts.end());
  }
  IntegerConvParams& p = conv->params;
  p.quads = static_cast<int>(quads);
  p.in = conv->groups == 1 && in.is_single() ? quad_range(in, step.in->c) : quad_table(in, conv->cuts, conv->builder);
  p.out = quad_range(out, step.out->c);
  if (step.in2) {
    if (const char* reason = in2.place(*step.in2, conv->builder)) return reason;
    if (!in2.in_arena() || pixels_of(*step.in2) != pixels_of(*step.out) || step.in2->c != step.out->c)
      return "expected a residual in the arena, in one piece, of the output's size";
    p.in2 = quad_range(in2, step.out->c);
    p.has_sum = 1;
    p.sum = integer_sum(SNP_ADD, *step.quant->residual);
  }
  if (step.quant->channels) p.scales = scale_table(*step.quant, conv->cuts, conv->builder);
  return nullptr;
}

// ---- Kernels --------------------------------------------------------------------------------------------------------

void launch_depthwise(Conv* conv) {
  // The cuts go through all channels, so that quads cross from one group to the next.
  IntegerConvParams& p = conv->params;
  const int32_t quads = p.quads;
  conv->place_weights(static_cast<uint64_t>(conv->taps) * static_cast<uint64_t>(quads), [&](int64_t index) {
    const QuadCut& cut = conv->cuts[static_cast<size_t>(index % quads)];
    uint32_t word = 0;
    for (int32_t i = 0; i < cut.count; ++i) {
      const int8_t w = conv->weight[int64_t{cut.channel + i} * conv->taps + index / quads];
      word |= uint32_t{static_cast<uint8_t>(w)} << (8 * i);
    }
    return word;
  });
  const uint32_t group = usual_group(conv->builder);
  const uint64_t reads = elements_of(*conv->step.out) * static_cast<uint64_t>(conv->taps);
  conv->launch("integer_conv_depthwise", {blocks_of(int64_t{p.pixels} * p.quads, static_cast<int32_t>(group)), 1, 1},
               {group, 1, 1}, 2 * reads);
}

void launch_direct(Conv* conv) {
  IntegerConvParams& p = conv->params;
  const int32_t outputs = p.all_outputs;
  conv->place_weights(static_cast<uint64_t>(p.words) * static_cast<uint64_t>(outputs), [&](int64_t index) {
    const auto k = static_cast<int32_t>(index / outputs);
    return conv->word(static_cast<int32_t>(index % outputs), k / p.quads, k % p.quads);
  });
  const uint32_t group = usual_group(conv->builder);
  const uint64_t reads = elements_of(*conv->step.out) * static_cast<uint64_t>(p.words);
  conv->launch("integer_conv_direct", {blocks_of(int64_t{p.pixels} * outputs, static_cast<int32_t>(group)), 1, 1},
               {group, 1, 1}, 8 * reads);
}

void launch_row(Conv* conv) {
  IntegerConvParams& p = conv->params;
  const int32_t pixels = p.pixels == 1 ? 1 : kMostRowPixels;  // two kernels to compile are enough
  const uint32_t lanes = 32, outputs = usual_group(conv->builder) / lanes;
  conv->defines = "-DROW_PIXELS=" + std::to_string(pixels);
  conv->set_step(static_cast<int32_t>(lanes));
  conv->place_weights(static_cast<uint64_t>(p.words) * static_cast<uint64_t>(p.outputs), [&](int64_t index) {
    const auto k = static_cast<int32_t>(index % p.words);
    return conv->word(static_cast<int32_t>(index / p.words), k / p.quads, k % p.quads);
  });
  const uint64_t reads = static_cast<uint64_t>(p.words) * static_cast<uint64_t>(p.outputs) * 4;
  conv->launch("integer_conv_row", {blocks_of(p.outputs, static_cast<int32_t>(outputs)), 1, 1}, {lanes, outputs, 1},
               reads * static_cast<uint64_t>(1 + p.pixels));
}

// The tile with which a step takes the least time: rounds of as many tiles as the device works on at once.
int best_tile(const Conv& conv) {
  const Traits& device = conv.builder.device();
  if (device.is_cpu) return kSmallTile;  // sizes make no difference there, and each one takes a second to compile
  const double units = std::max(1u, device.units);
  int best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTileCount; ++i) {
    const Tile& tile = kTiles[i];
    const double threads = tile.group_x() * tile.group_y();
    if (threads > device.max_group) continue;
    const double tiles = static_cast<double>(blocks_of(conv.params.pixels, tile.pixels)) *
                         blocks_of(conv.params.outputs, tile.outputs) * conv.groups;
    const double at_once = units * 256 / threads;
    const double rounds = std::max(1., tiles / at_once);
    const double time = rounds * 256 / threads * tile.pixels * tile.outputs / tile.worth;
    if (time >= least) continue;
    least = time;
    best = i;
  }
  return best;
}

void launch_tile(Conv* conv) {
  IntegerConvParams& p = conv->params;
  const std::string key = "int8 conv " + std::to_string(p.pixels) + " x " + std::to_string(p.outputs) + " x " +
                          std::to_string(p.words) + " x " + std::to_string(conv->groups) +
                          (conv->step.quant->channels ? " scaled" : "");
  const int fixed = best_tile(*conv);
  const Tile* tile = &kTiles[conv->builder.choose(key, kTileCount, fixed)];
  if (tile->group_x() * tile->group_y() > conv->builder.device().max_group) tile = &kTiles[fixed];
  conv->defines = "-DTILE_PIXELS=" + std::to_string(tile->pixels) + " -DTILE_OUTPUTS=" + std::to_string(tile->outputs) +
                  " -DTILE_WORDS=" + std::to_string(tile->words) +
                  " -DPIXEL_BLOCKS=" + std::to_string(tile->pixel_blocks) +
                  " -DOUTPUT_BLOCKS=" + std::to_string(tile->output_blocks);
  conv->set_step(tile->words);
  const int64_t words = round_up_to(p.words, tile->words), width = round_up_to(p.outputs, tile->outputs);
  const auto count = static_cast<uint64_t>(conv->groups * words * width);
  conv->place_weights(count, [&](int64_t index) {
    const auto output = static_cast<int32_t>(index % width), k = static_cast<int32_t>(index / width % words);
    if (output >= p.outputs || k >= p.words) return uint32_t{0};
    const auto group = static_cast<int32_t>(index / width / words);
    return conv->word(group * p.outputs + output, k / p.quads, k % p.quads);
  });
  const uint32_t pixel_tiles = blocks_of(p.pixels, tile->pixels), output_tiles = blocks_of(p.outputs, tile->outputs);
  const uint64_t inputs = static_cast<uint64_t>(conv->groups) * output_tiles * static_cast<uint64_t>(p.pixels) *
                          static_cast<uint64_t>(p.words) * 4;
  conv->launch("integer_conv_tile", {pixel_tiles, output_tiles, static_cast<uint32_t>(conv->groups)},
               {tile->group_x(), tile->group_y(), 1}, inputs + count * 4 * pixel_tiles);
}

}  // namespace

const char* lower_integer_conv(const snp_step& step, Builder& builder) {
  if (!step.conv || !step.window || !step.conv->weight) return "expected a window and weights";
  if (const char* reason = check_shapes(step)) return reason;
  const snp_window& window = *step.window;
  const snp_quant& q = *step.quant;
  const int32_t groups = step.conv->groups;
  Conv conv{step, builder, groups, step.in->c / groups, step.out->c / groups, window.kernel_h * window.kernel_w};
  const bool depthwise = groups > 1 && conv.group_in == 1 && conv.group_out == 1;
  const auto outputs = static_cast<uint64_t>(step.out->c);
  conv.weight = static_cast<const int8_t*>(builder.integers_of(
      *step.conv->weight, SNP_INT8, outputs * static_cast<uint64_t>(conv.group_in) * static_cast<uint64_t>(conv.taps)));
  const void* bias = step.conv->bias ? builder.integers_of(*step.conv->bias, SNP_INT32, outputs) : nullptr;

  if (depthwise) {  // one list of quads for all channels
    conv.groups = 1;
    conv.group_in = step.in->c;
  }
  if (const char* reason = place_views(&conv)) return reason;
  if (depthwise) conv.group_in = 1;

  IntegerConvParams& p = conv.params;
  p.in_h = step.in->h;
  p.in_w = step.in->w;
  p.out_h = step.out->h;
  p.out_w = step.out->w;
  p.kernel_h = window.kernel_h;
  p.kernel_w = window.kernel_w;
  p.stride_h = window.stride_h;
  p.stride_w = window.stride_w;
  p.dilation_h = window.dilation_h;
  p.dilation_w = window.dilation_w;
  p.pad_top = window.pad_top;
  p.pad_left = window.pad_left;
  p.pixels = pixels_of(*step.out);
  p.outputs = conv.group_out;
  p.all_outputs = step.out->c;
  p.words = conv.taps * p.quads;
  p.padding = uint32_t{static_cast<uint8_t>(q.in_zero)} * 0x01010101u;
  p.twice = q.rounding != 0;
  p.out_zero = q.out_zero;
  p.low = q.low;
  p.high = q.high;
  place_factors(&conv, static_cast<const int32_t*>(bias));

  if (depthwise)
    launch_depthwise(&conv);
  else if (groups > 1 && conv.group_out < kFewOutputs)
    launch_direct(&conv);
  else if (groups == 1 && p.pixels <= kMostRowPixels)
    launch_row(&conv);
  else
    launch_tile(&conv);
  return nullptr;
}

}  // namespace sparsenet::gpu
