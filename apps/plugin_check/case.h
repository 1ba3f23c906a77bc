// Case: a random plan of one or several steps, as the engine's own steps, with everything that they point to and with
// the numbers that the arena holds before a run.
//
// Inputs and outputs of the plan are the regions, which cover all of the arena. So a run's result is the whole arena,
// and it shows whether anything besides the steps' outputs was written.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "plugin_check/random.h"
#include "step/step.h"

namespace sparsenet::plugin_check {

// Elements of one type, one after the other.
struct Region {
  rt::DataType type;
  size_t offset;  // bytes from the start of the arena
  int64_t elements;
};

struct Constant {
  rt::DataType type;
  std::vector<uint64_t> words;  // the bytes, aligned for every type
  size_t bytes;

  uint8_t* data() { return reinterpret_cast<uint8_t*>(words.data()); }
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(words.data()); }
};

// How a view may lie in memory.
enum class Layout {
  kAny,      // several ranges of channels, constant ones too: what layers read
  kArena,    // one range in the arena, with other channels between those of its pixels
  kGapless,  // one range in the arena, one pixel after the other
};

class Case {
 public:
  Case(const char* kind, uint64_t seed);
  Case(Case&&) = default;
  Case& operator=(Case&&) = default;

  // For generators.

  Random random;
  bool half_parameters = false;  // parameters are float16 constants

  rt::View view(int32_t n, int32_t h, int32_t w, int32_t c, Layout layout, rt::DataType type = rt::DataType::kFloat32);
  // One pixel of `elements` channels, for index spaces.
  rt::View flat(int64_t elements, rt::DataType type = rt::DataType::kFloat32);
  rt::Parameter parameter(int64_t count, float low, float high);
  rt::Parameter integers(int64_t count, rt::DataType type, int32_t low, int32_t high);
  // Sets the elements of a view, constant or not, to random numbers of a range; `around_zero`: with random signs.
  void fill(const rt::View& view, float low, float high, bool around_zero = false);
  float* element(const rt::View& view, int64_t pixel, int32_t c);  // of float32
  rt::Step step(rt::StepOp op);                                    // with nothing set but its name
  void add(const rt::Step& step);                                  // a fault of the generator is an exception
  void finish();  // adds what lies behind the last view; to be called once, after all else

  // Rounds all numbers to those of float16.
  void round_to_half();

  const std::string& name() const { return name_; }
  std::string describe() const;  // the name and the sizes of the steps, in one line
  const std::vector<rt::Step>& steps() const { return steps_; }
  const std::vector<Region>& regions() const { return regions_; }
  const std::vector<uint8_t>& arena() const { return arena_; }
  std::vector<uint8_t>& arena() { return arena_; }
  const std::deque<Constant>& constants() const { return constants_; }

  // Storage for what steps point to.
  std::deque<std::vector<rt::Segment>> segments;
  std::deque<rt::Strided> strided;
  std::deque<rt::QuantParams> quant;
  std::deque<std::vector<rt::Multiplier>> multipliers;
  std::deque<std::vector<rt::ChannelScale>> channel_scales;
  std::deque<std::vector<int8_t>> tables;

 private:
  size_t place(rt::DataType type, int64_t elements);
  void grow(rt::DataType type, int64_t elements);
  void* constant(rt::DataType type, int64_t elements);  // with room in front of what the result points to
  void randomize(uint8_t* at, rt::DataType type, int64_t elements);

  std::string name_;
  std::vector<uint8_t> arena_;
  std::vector<Region> regions_;
  std::deque<Constant> constants_;
  std::deque<std::string> names_;
  std::vector<rt::Step> steps_;
};

// The number of the step that writes each byte of the arena last, or -1.
std::vector<int32_t> written_by(const Case& c);

// The arena after a run of the engine's plain kernels.
std::vector<uint8_t> reference_run(const Case& c);

// Compares the arena after a run of the plugin's: what steps wrote with the tolerance, relative to the largest number
// that the same step wrote, integers and everything else bit by bit. Throws Failure, or returns the largest error.
double compare(const Case& c, const std::vector<uint8_t>& expected, const std::vector<uint8_t>& found,
               double tolerance);

}  // namespace sparsenet::plugin_check
