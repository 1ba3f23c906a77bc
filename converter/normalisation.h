// How images become inputs: the effect of --mean, --std, --pixel-scale and --normalize.
//
// A .snet file stores mean and standard deviation per channel for pixels of 0..255. Most training scripts state them
// for pixels that were divided by 255 first. Both conventions are accepted; a rule decides which one was meant, and the
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
  int pixel_scale = 0;  // the largest pixel value that they are for: 1 or 255; 0: the rule decides
  std::string preset;   // a name of normalisation_presets(); empty: none

  bool given() const { return !mean.empty() || !std_dev.empty() || !preset.empty(); }
};

// The names that --normalize takes.
const std::vector<std::string>& normalisation_presets();

// Errors in the options themselves, independent of the network: usage errors.
Status check_normalisation(const NormalisationOptions& options);

// Sets metadata->mean and ->std_dev, for pixels of 0..255 in the order of metadata->color_order, and appends to `notes`
// what the user has to know. Does nothing if no option is given. kInvalidArgument if the number of values does not fit
// `input`, the shape of the network's first input.
Status apply_normalisation(const NormalisationOptions& options, const Shape& input, Metadata* metadata,
                           std::vector<std::string>* notes);

// Parses "1,2.5,3" into numbers, which must be finite as floats too. False if the text is anything else.
bool parse_number_list(const std::string& text, std::vector<double>* out);
// The reverse: numbers with as few digits as distinguish each float from its neighbours.
std::string number_list(const std::vector<float>& values);

}  // namespace sparsenet::converter
