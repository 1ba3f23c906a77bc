// Shared by the tests of `sparsenet train`: a tiny network, data that it learns in a few steps, and the command line.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <vector>

#include "command.h"

namespace sparsenet::test {

constexpr int kSide = 6, kImages = 66;  // of tiny_data()

std::string bytes_of(const std::string& path);  // empty if there is no file
bool contains(const std::string& text, const std::string& part);
Tensor random_tensor(const Shape& shape, float scale, uint32_t seed);  // uniform in [-scale, scale)

// A file with conv, BatchNorm, ReLU, pool and FC on [1, 3, 6, 6] and 3 classes: a step takes well under a millisecond.
const std::string& tiny_model();

// An .npy file of labels, written as bytes because our own writer supports only floats.
void write_labels(const std::string& path, const std::vector<int>& labels);

// The argument of --data. Class c: noise with a third of its channels raised, which can be learnt in a few steps.
const std::string& tiny_data();

// Trains tiny_model() on tiny_data(): 6 epochs of 8 steps on one thread. Words 1, 3, 5 ... are the values: the model
// [1], --data [3], -o [5], --epochs [7], --batch [9], --lr [11], --seed [13], --threads [15].
std::vector<std::string> train_line(const std::string& out, const std::vector<std::string>& more = {});
Outcome train(const std::string& out, const std::vector<std::string>& more = {});

// The bytes that an uninterrupted training gives; leaves plain.snet and its checkpoint in the scratch folder.
const std::string& plain_result();

// A folder of images with two of each kind: the sample, twice.
void make_photos(const std::string& folder, const std::vector<std::string>& samples);

}  // namespace sparsenet::test
