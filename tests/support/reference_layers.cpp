// Layers with weights, pools and Softmax in the double-precision reference.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/reference.h"

namespace sparsenet::test::reference {

void conv(const ConvAttrs& a, const Operands& in, Array& out) {
  const Array &x = *in[0], &w = *in[1];
  const Array* bias = in.size() > 2 ? in[2] : nullptr;
  const Array* residual = in.size() > 3 ? in[3] : nullptr;
  const size_t channels = x.dim(1), out_channels = out.dim(1), height = out.dim(2), width = out.dim(3);
  const size_t group_in = w.dim(1), group_out = out_channels / static_cast<size_t>(a.groups);
  const int64_t rows = x.shape[2], columns = x.shape[3];
  for (size_t n = 0; n < x.dim(0); ++n) {
    for (size_t o = 0; o < out_channels; ++o) {
      double* plane = &out.data[(n * out_channels + o) * height * width];
      std::fill(plane, plane + height * width, bias ? bias->data[o] : 0.0);
      const size_t first = o / group_out * group_in;  // first input channel of this group
      for (size_t i = 0; i < group_in; ++i) {
        const double* source = &x.data[(n * channels + first + i) * x.dim(2) * x.dim(3)];
        for (int64_t kh = 0; kh < a.kernel[0]; ++kh) {
          for (int64_t kw = 0; kw < a.kernel[1]; ++kw) {
            const double weight =
                w.data[((o * group_in + i) * w.dim(2) + static_cast<size_t>(kh)) * w.dim(3) + static_cast<size_t>(kw)];
            for (size_t oh = 0; oh < height; ++oh) {
              const int64_t ih = static_cast<int64_t>(oh) * a.stride[0] - a.pads[0] + kh * a.dilation[0];
              if (ih < 0 || ih >= rows) continue;
              for (size_t ow = 0; ow < width; ++ow) {
                const int64_t iw = static_cast<int64_t>(ow) * a.stride[1] - a.pads[1] + kw * a.dilation[1];
                if (iw >= 0 && iw < columns) plane[oh * width + ow] += weight * source[ih * columns + iw];
              }
            }
          }
        }
      }
    }
  }
  for (size_t i = 0; i < out.size(); ++i) {
    out.data[i] = activate(a.activation, out.data[i] + (residual ? residual->data[i] : 0.0));
  }
}

namespace {

size_t elements_after(const Array& x, size_t axis) {
  size_t count = 1;
  for (size_t d = axis + 1; d < x.shape.size(); ++d) count *= x.dim(d);
  return count;
}

}  // namespace

void batch_norm(const BatchNormAttrs& a, const Operands& in, Array& out) {
  const Array& x = *in[0];
  const size_t inner = elements_after(x, 1);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i / inner % x.dim(1);
    const double deviation = std::sqrt(in[4]->data[c] + static_cast<double>(a.epsilon));
    out.data[i] = (x.data[i] - in[3]->data[c]) / deviation * in[1]->data[c] + in[2]->data[c];
  }
}

void affine(const AffineAttrs& a, const Operands& in, Array& out) {
  const Array& x = *in[0];
  const size_t inner = elements_after(x, 1);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i / inner % x.dim(1);
    out.data[i] = activate(a.activation, x.data[i] * in[1]->data[c] + in[2]->data[c]);
  }
}

namespace {

// W v + b
std::vector<double> product(const Array& w, const std::vector<double>& v, const Array& b) {
  std::vector<double> y = b.data;
  for (size_t r = 0; r < y.size(); ++r) {
    for (size_t c = 0; c < v.size(); ++c) y[r] += w.data[r * v.size() + c] * v[c];
  }
  return y;
}

}  // namespace

void attention(const AttentionAttrs& a, const Operands& in, Array& out) {
  const Array& h = *in[0];
  const size_t channels = h.dim(1), pixels = h.dim(2) * h.dim(3);
  const bool paper = a.kind == AttentionAttrs::Kind::kPaper;
  for (size_t n = 0; n < h.dim(0); ++n) {
    const double* image = &h.data[n * channels * pixels];
    std::vector<double> g(channels, 0.0), f;
    for (size_t c = 0; c < channels; ++c) {
      for (size_t p = 0; p < pixels; ++p) g[c] += image[c * pixels + p];
      g[c] /= static_cast<double>(pixels);
    }
    if (paper) {
      std::vector<double> u(channels);
      for (size_t c = 0; c < channels; ++c) u[c] = activate(a.activation, in[1]->data[c] * g[c] + in[2]->data[c]);
      std::vector<double> joined = product(*in[3], u, *in[4]);  // e first, then g
      joined.insert(joined.end(), g.begin(), g.end());
      for (size_t c = 0; c < joined.size(); ++c) {
        joined[c] = std::max(in[5]->data[c] * joined[c] + in[6]->data[c], 0.0);
      }
      f = product(*in[7], joined, *in[8]);
      for (double& v : f) v = 1 / (1 + std::exp(-v));
    } else {
      std::vector<double> hidden = product(*in[1], g, *in[2]);
      for (double& v : hidden) v = activate(a.activation, v);
      f = product(*in[3], hidden, *in[4]);
      for (double& v : f) v = activate(a.gate, v);
    }
    for (size_t c = 0; c < channels; ++c) {
      const double factor = paper ? 1 + f[c] : f[c];
      for (size_t p = 0; p < pixels; ++p) {
        out.data[(n * channels + c) * pixels + p] = image[c * pixels + p] * factor;
      }
    }
  }
}

void pool(bool maximum, const PoolAttrs& a, const Operands& in, Array& out) {
  const Array& x = *in[0];
  const int64_t rows = x.shape[2], columns = x.shape[3], out_rows = out.shape[2], out_columns = out.shape[3];
  const size_t planes = x.dim(0) * x.dim(1);
  for (size_t p = 0; p < planes; ++p) {
    const double* source = &x.data[p * static_cast<size_t>(rows * columns)];
    double* target = &out.data[p * static_cast<size_t>(out_rows * out_columns)];
    for (int64_t oh = 0; oh < out_rows; ++oh) {
      for (int64_t ow = 0; ow < out_columns; ++ow) {
        const int64_t top = oh * a.stride[0] - a.pads[0], left = ow * a.stride[1] - a.pads[1];
        double best = -std::numeric_limits<double>::infinity(), sum = 0;
        int64_t inside = 0, padded = 0;  // of the window: pixels of the image, pixels of the padded image
        for (int64_t ih = top; ih < top + a.kernel[0]; ++ih) {
          for (int64_t iw = left; iw < left + a.kernel[1]; ++iw) {
            if (ih < rows + a.pads[2] && iw < columns + a.pads[3]) ++padded;
            if (ih < 0 || ih >= rows || iw < 0 || iw >= columns) continue;
            ++inside;
            best = std::max(best, source[ih * columns + iw]);
            sum += source[ih * columns + iw];
          }
        }
        target[oh * out_columns + ow] =
            maximum ? best : sum / static_cast<double>(a.count_include_pad ? padded : inside);
      }
    }
  }
}

void softmax(const AxisAttrs& a, const Operands& in, Array& out) {
  const Array& x = *in[0];
  const auto axis = static_cast<size_t>(a.axis);
  const size_t length = x.dim(axis), inner = elements_after(x, axis);
  for (size_t start = 0; start < x.size(); ++start) {
    if (start / inner % length != 0) continue;  // one pass per line along the axis
    double highest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (size_t i = 0; i < length; ++i) highest = std::max(highest, x.data[start + i * inner]);
    for (size_t i = 0; i < length; ++i) sum += std::exp(x.data[start + i * inner] - highest);
    for (size_t i = 0; i < length; ++i) {
      out.data[start + i * inner] = std::exp(x.data[start + i * inner] - highest) / sum;
    }
  }
}

void layer_norm(const BatchNormAttrs& a, const Operands& in, Array& out) {
  const Array& x = *in[0];
  const size_t axis = x.shape.size() == 3 ? 2 : 1, channels = x.dim(axis), inner = elements_after(x, axis);
  for (size_t start = 0; start < x.size(); ++start) {
    if (start / inner % channels != 0) continue;
    double mean = 0, variance = 0;
    for (size_t c = 0; c < channels; ++c) mean += x.data[start + c * inner] / static_cast<double>(channels);
    for (size_t c = 0; c < channels; ++c) variance += std::pow(x.data[start + c * inner] - mean, 2);
    const double deviation = std::sqrt(variance / static_cast<double>(channels) + static_cast<double>(a.epsilon));
    for (size_t c = 0; c < channels; ++c) {
      double y = (x.data[start + c * inner] - mean) / deviation;
      if (in.size() > 1 && in[1]) y *= in[1]->data[c];
      if (in.size() > 2 && in[2]) y += in[2]->data[c];
      out.data[start + c * inner] = y;
    }
  }
}

}  // namespace sparsenet::test::reference
