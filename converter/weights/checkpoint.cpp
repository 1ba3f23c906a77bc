#include "converter/weights/checkpoint.h"

#include <unordered_set>

#include "converter/report.h"

namespace sparsenet::converter {
namespace {

using Kind = PickleValue::Kind;

size_t count_tensors(const Pickle& pickle, const PickleValue& dict) {
  size_t count = 0;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    count += pickle.at(dict.items[i]).kind == Kind::kString && pickle.at(dict.items[i + 1]).kind == Kind::kTensor;
  }
  return count;
}

// A dict of named tensors within a checkpoint.
struct WeightsDict {
  std::vector<const PickleValue*> keys;  // the path from the root to it; empty: it is the root itself
  const PickleValue* dict;
  size_t tensors;
};

// "['model']['ema']", as Python writes it.
std::string to_python(const std::vector<const PickleValue*>& keys) {
  std::string text;
  for (const PickleValue* key : keys) text += "['" + printable(key->text) + "']";
  return text;
}

// "'state_dict'", or the whole path to it.
std::string key_text(const std::vector<const PickleValue*>& keys) {
  return keys.size() == 1 ? "'" + printable(keys[0]->text) + "'" : to_python(keys);
}

// The state of optimisers consists of tensors as well, but is not weights.
bool is_training_state(const std::string& key) {
  for (const char* word : {"optim", "sched", "scaler", "buffer"}) {
    if (key.find(word) != std::string::npos) return true;
  }
  return false;
}

// All dicts of tensors that can be reached by string keys, the root's own first. Searched level by level, each dict
// once, because pickles may contain themselves.
std::vector<WeightsDict> find_weights(const Pickle& pickle) {
  constexpr size_t kMaxDepth = 4, kMaxDicts = 1000, kMaxKey = 200;
  std::vector<WeightsDict> found, level{{{}, &pickle.at(pickle.root), 0}};
  std::unordered_set<const PickleValue*> seen;
  for (size_t depth = 0; depth <= kMaxDepth && !level.empty(); ++depth) {
    std::vector<WeightsDict> next;
    for (WeightsDict& here : level) {
      if (here.dict->kind != Kind::kDict || !seen.insert(here.dict).second || seen.size() > kMaxDicts) continue;
      here.tensors = count_tensors(pickle, *here.dict);
      if (here.tensors > 0) found.push_back(here);
      for (size_t i = 0; i + 1 < here.dict->items.size() && next.size() < kMaxDicts; i += 2) {
        const PickleValue& key = pickle.at(here.dict->items[i]);
        const PickleValue& value = pickle.at(here.dict->items[i + 1]);
        if (key.kind != Kind::kString || value.kind != Kind::kDict || key.text.size() > kMaxKey) continue;
        if (is_training_state(key.text)) continue;
        std::vector<const PickleValue*> keys = here.keys;
        keys.push_back(&key);
        next.push_back({std::move(keys), &value, 0});
      }
    }
    level = std::move(next);
  }
  return found;
}

}  // namespace

Result<const PickleValue*> choose_weights(const Pickle& pickle, std::vector<std::string>* notes) {
  constexpr size_t kMostListed = 8;
  const std::vector<WeightsDict> found = find_weights(pickle);
  if (found.empty()) {
    return unsupported(
        "no dict of named tensors found (also not inside other dicts): save the weights alone "
        "(torch.save(model.state_dict(), 'weights.pth'))");
  }
  const WeightsDict* chosen = nullptr;
  for (const char* key : {"state_dict", "model_state_dict", "model", "net"}) {
    if (chosen) break;
    for (const WeightsDict& dict : found) {
      if (dict.keys.size() == 1 && dict.keys[0]->text == key) chosen = &dict;  // the last one wins, as in Python
    }
  }
  if (!chosen && (found.front().keys.empty() || found.size() == 1)) chosen = &found.front();
  std::string list;
  size_t listed = 0;
  for (const WeightsDict& dict : found) {
    if (&dict == chosen || (chosen && dict.tensors != chosen->tensors) || ++listed > kMostListed) continue;
    list += (list.empty() ? "" : ", ") + to_python(dict.keys) + " (" + std::to_string(dict.tensors) + " tensors)";
  }
  if (!chosen) {
    return unsupported("the checkpoint holds several dicts of tensors: " + list +
                       "; save the one that is meant alone, such as torch.save(torch.load(FILE)" +
                       to_python(found.front().keys) + ", 'weights.pth')");
  }
  if (!chosen->keys.empty()) notes->push_back("weights taken from the checkpoint's " + key_text(chosen->keys));
  if (!list.empty()) {
    notes->push_back("the checkpoint holds others, too, which were not taken: " + list +
                     "; to convert them, save them alone with torch.save");
  }
  return chosen->dict;
}

}  // namespace sparsenet::converter
