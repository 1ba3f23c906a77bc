// How images become inputs: what --mean, --std, --pixel-scale and --normalize come to.
//
// A .snet file stores mean and standard deviation per channel for pixels of 0..255. Most training scripts state them
// for pixels that were divided by 255 first. Both habits are read; which one was meant is decided by a rule, and the
// decision is reported.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include <string>
#include <vector>

namespace sparsenet::converter {

struct NormalisationOptions {
  // Per channel, as given; empty: not given. Doubles, so that 0.485 x 255 rounds to the same float as 123.675.
  std::vector<double> mean, std_dev;
  int pixel_scale = 0;  // the largest pixel value they are for: 1 or 255; 0: the rule decides
  std::string preset;   // a name of normalisation_presets(); empty: none

  bool given() const { return !mean.empty() || !std_dev.empty() || !preset.empty(); }
};

// The names that --normalize takes.
const std::vector<std::string>& normalisation_presets();

// What is wrong with the options themselves, whatever the network: a usage error.
Status check_normalisation(const NormalisationOptions& options);

// Sets metadata->mean and ->std_dev, for pixels of 0..255 in the order of metadata->color_order, and appends what the
// user has to know to `notes`. Does nothing where no option is given. kInvalidArgument where the number of values does
// not fit `input`, the shape of the network's first input.
Status apply_normalisation(const NormalisationOptions& options, const Shape& input, Metadata* metadata,
                           std::vector<std::string>* notes);

// "1,2.5,3" as numbers, finite as floats too. False: something else.
bool parse_number_list(const std::string& text, std::vector<double>* out);
// The reverse: numbers as people write them, with as few digits as tell each float from its neighbours.
std::string number_list(const std::vector<float>& values);

}  // namespace sparsenet::converter
