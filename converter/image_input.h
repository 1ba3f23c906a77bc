// What a network does with the images that it reads before it computes anything, brought into the form that the model
// file's metadata can say: images [N, C, H, W] in the channels' own order, and which pixels they are for.
#pragma once

#include <sparsenet/model.h>

#include "converter/report.h"

namespace sparsenet::converter {

// - An input [N, H, W, C] that is only transposed becomes [N, C, H, W].
// - Channels that are reversed or picked in front of convolutions are reversed or picked in their weights.
// - A network that normalises its input itself gets mean and std for pixels that go in as it wants them: mean 0 and std
//   1 for pixels of 0..255, std 255 for pixels of 0..1.
// What was done is noted in the report. The network computes the same as before, for the same values.
void settle_image_input(Model* model, Report* report);

// Of this the part for a network whose only input are images of uint8: mean and std, where the bytes are those of
// pixels. False if they are not.
bool settle_byte_input(Model* model, Report* report);

}  // namespace sparsenet::converter
