/* The arithmetic of the sample plugin: every float32 step of a plan as a plain loop. On a device of its own, these are
 * kernels. The formulas are those of sparsenet/plugin.h. */
#include <math.h>

#include "sample.h"

static char* data_of(const snp_prepared* p, int32_t constant, uint64_t offset) {
  return (constant < 0 ? p->arena : (char*)p->plan.constants[constant].data) + offset; /* constants are only read */
}

static const float* floats(const snp_prepared* p, const snp_parameter* parameter) {
  return (const float*)(void*)data_of(p, parameter->constant, parameter->offset);
}

float* sample_at(const snp_prepared* p, const snp_view* view, int64_t pixel, int32_t c) {
  const snp_segment* s = view->segments;
  for (; c >= s->channels; ++s) c -= s->channels;
  return (float*)(void*)data_of(p, s->constant, s->offset) + pixel * s->pixel_stride + c;
}

static int64_t pixels_of(const snp_view* view) {
  return (int64_t)view->n * view->h * view->w;
}

/* NaN stays NaN. */
static float bounded(float x, float low, float high) {
  return x < low ? low : x > high ? high : x;
}

/* The step's input with the affine in front of it. */
static float input(const snp_prepared* p, const snp_step* s, int64_t pixel, int32_t c) {
  const float x = *sample_at(p, s->in, pixel, c);
  if (!s->affine) return x;
  return bounded(x * floats(p, s->affine->scale)[c] + floats(p, s->affine->shift)[c], s->affine->low, s->affine->high);
}

static float activate(float x, const snp_act* act) {
  if (!act) return x;
  switch (act->kind) {
    case SNP_CLAMP:
      return bounded(x, act->low, act->high);
    case SNP_LEAKY_RELU:
      return x < 0 ? act->alpha * x : x;
    case SNP_SIGMOID:
      return 1 / (1 + expf(-x));
    case SNP_HARD_SIGMOID:
      return bounded(act->alpha * x + act->beta, 0, 1);
    case SNP_HARD_SWISH:
      return x * bounded(x / 6 + 0.5f, 0, 1);
    case SNP_TANH:
      return tanhf(x);
    case SNP_ELU:
      return x < 0 ? act->alpha * expm1f(x) : x;
    case SNP_SOFTPLUS:
      return (x < 0 ? 0 : x) + log1pf(expf(-fabsf(x)));
    case SNP_SILU:
      return act->alpha * x < -80 ? 0 : x / (1 + expf(-act->alpha * x));
    case SNP_MISH:
      return x < -80 ? 0 : x * tanhf((x < 0 ? 0 : x) + log1pf(expf(-fabsf(x))));
    case SNP_GELU:
      return x < -20 ? 0 : 0.5f * x * erfcf(x * -0.707106781f);
    case SNP_GELU_TANH:
      return x < -20 ? 0 : 0.5f * x * (1 + tanhf(0.797884561f * (x + 0.044715f * x * x * x)));
    case SNP_ERF:
      return erff(x);
    case SNP_EXP:
      return expf(x);
    case SNP_LOG:
      return logf(x);
    default:
      return powf(x, act->alpha);
  }
}

/* Convolution and pooling: all that differs is what is done with the pixels of a window. */
static void run_window(const snp_prepared* p, const snp_step* s) {
  const snp_window* w = s->window;
  const int32_t groups = s->conv ? s->conv->groups : s->in->c; /* of a pool, each channel is one */
  const int32_t group_in = s->in->c / groups, group_out = s->out->c / groups;
  int64_t pixel;
  int32_t o, c, ky, kx;
  for (pixel = 0; pixel < pixels_of(s->out); ++pixel) {
    const int64_t image = pixel / s->out->w / s->out->h;
    const int32_t top = (int32_t)(pixel / s->out->w % s->out->h) * w->stride_h - w->pad_top;
    const int32_t left = (int32_t)(pixel % s->out->w) * w->stride_w - w->pad_left;
    for (o = 0; o < s->out->c; ++o) {
      float sum = s->conv && s->conv->bias ? floats(p, s->conv->bias)[o] : 0, best = -INFINITY;
      int32_t inside = 0, padded = 0;
      for (ky = 0; ky < w->kernel_h; ++ky) {
        for (kx = 0; kx < w->kernel_w; ++kx) {
          const int32_t y = top + ky * w->dilation_h, x = left + kx * w->dilation_w;
          if (y < s->in->h + w->pad_bottom && x < s->in->w + w->pad_right) ++padded;
          if (y < 0 || y >= s->in->h || x < 0 || x >= s->in->w) continue;
          ++inside;
          for (c = 0; c < group_in; ++c) {
            const float v = input(p, s, (image * s->in->h + y) * s->in->w + x, o / group_out * group_in + c);
            const int64_t tap = (((int64_t)o * group_in + c) * w->kernel_h + ky) * w->kernel_w + kx;
            sum += s->conv ? v * floats(p, s->conv->weight)[tap] : v;
            best = fmaxf(best, v);
          }
        }
      }
      if (s->pool && !s->pool->count_include_pad) padded = inside;
      if (s->pool) sum = s->pool->max ? best : sum / (float)(padded > 0 ? padded : 1);
      if (s->in2) sum += *sample_at(p, s->in2, pixel, o);
      *sample_at(p, s->out, pixel, o) = activate(sum, s->act);
    }
  }
}

static float mean(const snp_prepared* p, const snp_step* s, int32_t image, int32_t c) {
  const int64_t pixels = (int64_t)s->in->h * s->in->w;
  double sum = 0;
  int64_t i;
  for (i = 0; i < pixels; ++i) sum += input(p, s, image * pixels + i, c);
  return (float)(sum / (double)pixels);
}

static float combine(uint32_t op, float a, float b) {
  switch (op) {
    case SNP_ADD:
      return a + b;
    case SNP_SUB:
      return a - b;
    case SNP_MUL:
      return a * b;
    case SNP_DIV:
      return a / b;
    case SNP_MAX:
      return a > b || a != a ? a : b;
    case SNP_MIN:
      return a < b || a != a ? a : b;
    default:
      return a < 0 ? a * b : a;
  }
}

static void run_pointwise(const snp_prepared* p, const snp_step* s) {
  int64_t pixel;
  int32_t c;
  for (pixel = 0; pixel < pixels_of(s->out); ++pixel) {
    for (c = 0; c < s->out->c; ++c) {
      float x = s->op == SNP_GLOBAL_POOL ? mean(p, s, (int32_t)pixel, c) : input(p, s, pixel, c);
      if (s->op == SNP_BINARY) x = combine(s->binary, x, *sample_at(p, s->in2, pixel, c));
      *sample_at(p, s->out, pixel, c) = activate(x, s->act);
    }
  }
}

static void run_layer_norm(const snp_prepared* p, const snp_step* s) {
  int64_t i;
  int32_t c;
  for (i = 0; i < pixels_of(s->in); ++i) {
    double sum = 0, squares = 0;
    for (c = 0; c < s->in->c; ++c) sum += *sample_at(p, s->in, i, c);
    sum /= s->in->c;
    for (c = 0; c < s->in->c; ++c) squares += (*sample_at(p, s->in, i, c) - sum) * (*sample_at(p, s->in, i, c) - sum);
    for (c = 0; c < s->in->c; ++c) {
      double x = (*sample_at(p, s->in, i, c) - sum) / sqrt(squares / s->in->c + (double)s->epsilon);
      if (s->affine) x = x * floats(p, s->affine->scale)[c] + floats(p, s->affine->shift)[c];
      *sample_at(p, s->out, i, c) = activate((float)x, s->act);
    }
  }
}

/* out = act(w * in + b) */
static void dense(const snp_prepared* p, const snp_parameter* w, const snp_parameter* b, const float* in, int32_t ins,
                  float* out, int32_t outs, const snp_act* act) {
  int32_t i, k;
  for (i = 0; i < outs; ++i) {
    float sum = floats(p, b)[i];
    for (k = 0; k < ins; ++k) sum += floats(p, w)[(int64_t)i * ins + k] * in[k];
    out[i] = activate(sum, act);
  }
}

static void run_attention(const snp_prepared* p, const snp_step* s) {
  const snp_attention* a = s->attention;
  const int32_t c = s->in->c;
  const int64_t pixels = (int64_t)s->in->h * s->in->w;
  float *g = p->scratch, *f = g + c, *e = f + c, *t = e + c; /* t: 2 c or `hidden` numbers */
  int64_t pixel;
  int32_t n, i;
  for (n = 0; n < s->in->n; ++n) {
    for (i = 0; i < c; ++i) g[i] = mean(p, s, n, i);
    if (a->hidden > 0) {
      dense(p, a->params[0], a->params[1], g, c, t, a->hidden, a->act);
      dense(p, a->params[2], a->params[3], t, a->hidden, f, c, a->gate);
    } else {
      for (i = 0; i < c; ++i) t[i] = activate(floats(p, a->params[0])[i] * g[i] + floats(p, a->params[1])[i], a->act);
      dense(p, a->params[2], a->params[3], t, c, e, c, NULL);
      for (i = 0; i < 2 * c; ++i) {
        t[i] = floats(p, a->params[4])[i] * (i < c ? e[i] : g[i - c]) + floats(p, a->params[5])[i];
        t[i] = bounded(t[i], 0, INFINITY);
      }
      dense(p, a->params[6], a->params[7], t, 2 * c, f, c, a->gate);
      for (i = 0; i < c; ++i) f[i] += 1;
    }
    for (pixel = n * pixels; pixel < (n + 1) * pixels; ++pixel) {
      for (i = 0; i < c; ++i) *sample_at(p, s->out, pixel, i) = *sample_at(p, s->in, pixel, i) * f[i];
    }
  }
}

/* ---- Index spaces ------------------------------------------------------------------------------------------------ */

static int64_t count(const snp_strided* s, int32_t begin, int32_t end) {
  int64_t product = 1;
  for (; begin < end; ++begin) product *= s->dims[begin];
  return product;
}

/* Where index i of the dimensions [begin, end) lies in an operand with these strides. */
static int64_t place(const snp_strided* s, const int64_t* strides, int32_t begin, int32_t end, int64_t i) {
  int64_t offset = 0;
  while (end-- > begin) {
    offset += i % s->dims[end] * strides[end];
    i /= s->dims[end];
  }
  return offset;
}

static void run_strided(const snp_prepared* p, const snp_step* s) {
  const snp_strided* d = s->strided;
  const int reduces = s->op == SNP_REDUCE_MEAN || s->op == SNP_MAT_MUL || s->op == SNP_SOFTMAX;
  const int32_t from = reduces ? d->reduced_from : d->rank;
  const int64_t inner = count(d, from, d->rank);
  const float* a = sample_at(p, s->in, 0, 0) + d->in_start;
  const float* b = s->in2 ? sample_at(p, s->in2, 0, 0) + d->in2_start : NULL;
  float* y = sample_at(p, s->out, 0, 0);
  int64_t i, k;
  for (k = 0; d->fill_first && k < (int64_t)d->out_elements; ++k) y[k] = d->fill_value;
  for (i = 0; i < count(d, 0, from); ++i) {
    const float* x = a + place(d, d->in_strides, 0, from, i);
    const float* x2 = b ? b + place(d, d->in2_strides, 0, from, i) : NULL;
    float* out = y + d->out_start + place(d, d->out_strides, 0, from, i);
    float top = -INFINITY;
    double sum = 0;
    if (!reduces) *out = activate(s->op == SNP_BINARY ? combine(s->binary, *x, *x2) : *x, s->act);
    for (k = 0; s->op == SNP_SOFTMAX && k < inner; ++k) top = fmaxf(top, x[place(d, d->in_strides, from, d->rank, k)]);
    for (k = 0; reduces && k < inner; ++k) {
      const float v = x[place(d, d->in_strides, from, d->rank, k)];
      if (s->op == SNP_MAT_MUL)
        sum += (double)v * x2[place(d, d->in2_strides, from, d->rank, k)];
      else
        sum += s->op == SNP_SOFTMAX ? exp((double)v - top) : v;
    }
    for (k = 0; s->op == SNP_SOFTMAX && k < inner; ++k) {
      const float v = x[place(d, d->in_strides, from, d->rank, k)];
      out[place(d, d->out_strides, from, d->rank, k)] = (float)(exp((double)v - top) / sum);
    }
    if (s->op == SNP_REDUCE_MEAN) *out = activate((float)(sum / (double)inner), s->act);
    if (s->op == SNP_MAT_MUL) *out = activate((float)sum, s->act);
  }
}

/* ---- Which steps there are --------------------------------------------------------------------------------------- */

sample_run sample_runner(const snp_step* s, const char** name) {
  switch (s->op) {
    case SNP_CONV:
      *name = "conv";
      return run_window;
    case SNP_POOL:
      *name = "pool";
      return run_window;
    case SNP_GLOBAL_POOL:
    case SNP_AFFINE:
    case SNP_UNARY:
      *name = "pointwise";
      return run_pointwise;
    case SNP_BINARY:
      *name = "binary";
      return s->strided ? run_strided : run_pointwise;
    case SNP_ATTENTION:
      *name = "attention";
      return run_attention;
    case SNP_LAYER_NORM:
      *name = "layer_norm";
      return run_layer_norm;
    case SNP_SOFTMAX:
    case SNP_REDUCE_MEAN:
    case SNP_STRIDED_COPY:
    case SNP_MAT_MUL:
      *name = "strided";
      return run_strided;
    default:
      return NULL;
  }
}

/* Numbers that are unknown are those of a later version. */
const char* sample_why_not(const snp_step* s) {
  const char* name;
  if (s->quant) return "steps that compute with integers are not supported";
  if (!sample_runner(s, &name)) return "this kind of step is not known";
  if (s->in->type != SNP_FLOAT32 || s->out->type != SNP_FLOAT32 || (s->in2 && s->in2->type != SNP_FLOAT32)) {
    return "expected views of float32";
  }
  if (s->act && s->act->kind > SNP_POW) return "this kind of activation is not known";
  if (s->op == SNP_BINARY && s->binary > SNP_PRELU) return "this kind of arithmetic is not known";
  if (s->attention && ((s->attention->act && s->attention->act->kind > SNP_ERF) ||
                       (s->attention->gate && s->attention->gate->kind > SNP_ERF))) {
    return "this kind of activation is not known";
  }
  return NULL;
}

uint64_t sample_scratch(const snp_step* s) {
  const uint64_t c = (uint64_t)s->in->c;
  if (!s->attention) return 0;
  return 3 * c + (2 * c > (uint64_t)s->attention->hidden ? 2 * c : (uint64_t)s->attention->hidden);
}
