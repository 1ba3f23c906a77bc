#include "converter/weights/matching.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "converter/weights/name_prefix.h"
#include "converter/weights/tensor_names.h"

namespace sparsenet::converter {
namespace {

constexpr size_t kNone = SIZE_MAX;

// A 1x1 convolution on pooled values and a fully connected layer are the same thing: [O, I, 1, 1] matches [O, I].
bool same_shape(const Shape& source, const Shape& target) {
  if (source == target) return true;
  const Shape& longer = source.size() > target.size() ? source : target;
  const Shape& shorter = source.size() > target.size() ? target : source;
  return shorter.size() == 2 && longer.size() == 4 && longer[0] == shorter[0] && longer[1] == shorter[1] &&
         longer[2] == 1 && longer[3] == 1;
}

// The constants that are filled with weights.
struct Part {
  Role role;
  bool normalises;  // it is one of a batch normalisation
};
std::unordered_map<ValueId, Part> weight_roles(const Graph& graph) {
  std::unordered_map<ValueId, Part> roles;
  for (const Node& node : graph.nodes) {
    if (node.op == Op::kConv || node.op == Op::kFullyConnected) {
      roles[node.inputs[1]] = {Role::kWeight, false};
      if (node.inputs.size() > 2) roles[node.inputs[2]] = {Role::kBias, false};
    } else if (node.op == Op::kBatchNorm) {
      const Role in_order[] = {Role::kWeight, Role::kBias, Role::kMean, Role::kVariance};
      for (size_t i = 0; i < 4; ++i) roles[node.inputs[i + 1]] = {in_order[i], true};
    }
  }
  return roles;
}

class Matcher {
 public:
  Matcher(const SourceTensors& source, const NameRules& rules, Graph* graph, Report* report)
      : source_(source), rules_(rules), graph_(*graph), report_(*report) {}

  void run() {
    collect();
    by_rules();
    by_names();
    by_aliases();
    if (report_.problems.empty()) by_order();
    if (report_.problems.empty()) by_unique_shape();
    finish();
  }

 private:
  struct Target {
    ValueId id;
    Role role;
    bool normalises;
    size_t source = kNone;
  };

  const std::string& target_name(size_t t) const { return graph_.value(targets_[t].id).name; }
  const Shape& target_shape(size_t t) const { return graph_.shape(targets_[t].id); }
  const SourceTensor& tensor(size_t s) const { return source_.tensors[s]; }
  std::string describe(size_t s) const { return "tensor '" + tensor(s).name + "'"; }

  void collect() {
    const std::unordered_map<ValueId, Part> roles = weight_roles(graph_);
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const auto id = static_cast<ValueId>(i);
      // Other constants (a scale that is part of the structure) belong to the architecture and are not weights.
      if (!graph_.values[i].is_constant || roles.find(id) == roles.end()) continue;
      by_name_[graph_.values[i].name] = targets_.size();
      // Two constants of the same flat name: neither is found by it.
      const auto [flat, is_new] = by_flat_name_.emplace(flat_name(graph_.values[i].name), targets_.size());
      if (!is_new) flat->second = kNone;
      const auto [role, normalises] = roles.at(id);
      targets_.push_back({id, role, normalises});
    }
    how_.resize(source_.tensors.size());
    used_.assign(source_.tensors.size(), kNone);
    settled_.assign(source_.tensors.size(), false);
    dropped_by_.assign(source_.tensors.size(), 0);
    source_roles_.reserve(source_.tensors.size());  // computed once: they are compared with those of every target
    for (const SourceTensor& x : source_.tensors) source_roles_.push_back(role_from_name(x.name));
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      if (is_float(tensor(s).type)) continue;
      how_[s] = std::string("ignored (") + name(tensor(s).type) + ")";
      settled_[s] = true;
    }
  }

  // The constant of this name, or of the name that a Keras layer's tensor has; kNone: there is none.
  size_t find_target(const std::string& name) const {
    const auto found = by_name_.find(name);
    if (found != by_name_.end()) return found->second;
    if (!source_.keras) return kNone;
    const auto flat = by_flat_name_.find(flat_name(name));
    return flat != by_flat_name_.end() ? flat->second : kNone;
  }

  void assign(size_t s, size_t t, const std::string& how) {
    if (!same_shape(tensor(s).shape, target_shape(t))) {
      report_.problem(describe(s), "expected " + to_string(target_shape(t)) + " for '" + target_name(t) + "', found " +
                                       to_string(tensor(s).shape));
    } else if (targets_[t].source != kNone) {
      report_.problem(describe(s),
                      "'" + target_name(t) + "' is already filled by tensor '" + tensor(targets_[t].source).name + "'");
    }
    if (targets_[t].source == kNone) targets_[t].source = s;
    used_[s] = t;
    how_[s] = how;
    settled_[s] = true;
  }

  void by_rules() {
    std::vector<bool> matched(rules_.size() + 1, false);
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      std::string to;
      const size_t rule = rules_.apply(tensor(s).name, &to);
      if (rule == 0) continue;
      matched[rule] = true;
      if (to.empty()) {
        how_[s] = "dropped by rule " + std::to_string(rule);
        dropped_by_[s] = rule;
        settled_[s] = true;
        continue;
      }
      if (settled_[s]) continue;  // an integer tensor
      const size_t t = find_target(to);
      if (t == kNone) {
        report_.problem(describe(s), "rule " + std::to_string(rule) + " sends it to '" + to +
                                         "', which the architecture does not have");
        settled_[s] = true;
        continue;
      }
      assign(s, t, "rule " + std::to_string(rule));
    }
    for (size_t rule = 1; rule <= rules_.size(); ++rule) {
      if (!matched[rule])
        report_.note("rule " + std::to_string(rule) + " (" + printable(rules_.text(rule)) + ") matched no tensor");
    }
  }

  NamePrefix find_prefix() const {
    std::vector<const std::string*> names;
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      if (!settled_[s]) names.push_back(&tensor(s).name);
    }
    return find_name_prefix(names, [this](const std::string& name) { return find_target(name) != kNone; });
  }

  void by_names() {
    prefix_ = find_prefix();
    size_t stripped = 0;
    std::string first;
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      if (settled_[s]) continue;
      const std::string& name = tensor(s).name;
      size_t t = find_target(name);
      const bool exact = t != kNone;
      const std::string rest = exact ? name : without_prefixes(name, prefix_);
      if (!exact) t = find_target(rest);
      if (t == kNone) continue;
      assign(s, t, exact ? "name" : "name without prefix");
      if (!exact && stripped++ == 0) first = name.substr(0, name.size() - rest.size());
    }
    if (stripped > 0) {
      report_.note("the prefix '" + printable(first) + "' was taken off the names of " + std::to_string(stripped) +
                   " tensors");
    }
  }

  // Whether a layer computes with this tensor, as far as name and shape tell; not so for counters or training state.
  bool looks_like_parameter(size_t s) const {
    return is_float(tensor(s).type) && (source_roles_[s] != Role::kUnknown || tensor(s).shape.size() > 1);
  }

  // A rule may drop something that the file's network needs: the result would then compute something else.
  void warn_of_dropped() {
    std::vector<std::vector<size_t>> dropped(rules_.size() + 1);
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      if (dropped_by_[s] != 0 && looks_like_parameter(s)) dropped[dropped_by_[s]].push_back(s);
    }
    for (size_t rule = 1; rule <= rules_.size(); ++rule) {
      if (dropped[rule].empty()) continue;
      const size_t first = dropped[rule][0];
      report_.warn("rule " + std::to_string(rule) + " (" + printable(rules_.text(rule)) + ") drops " +
                   std::to_string(dropped[rule].size()) + " tensors that look like parameters of layers, the first: '" +
                   printable(tensor(first).name) + "' " + to_string(tensor(first).shape) +
                   "; if the network computes with them, what is written is another network");
    }
  }

  // A tensor without a constant of its own name may match one under another implementation's name.
  void by_aliases() {
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      const std::string rest = without_prefixes(tensor(s).name, prefix_);
      const std::string name = source_.keras ? without_keras_words(rest) : rest;
      for (const LayerAlias& alias : layer_aliases()) {
        if (settled_[s]) break;
        const size_t t = find_target(with_alias(name, alias));
        if (t == kNone || targets_[t].source != kNone) continue;
        if (!same_shape(tensor(s).shape, target_shape(t))) continue;
        assign(s, t, std::string("name, ") + alias.ours + " for " + alias.theirs);
      }
    }
  }

  // The sources and targets not matched yet, in order: those of a run, or all of them (0).
  void open(int run, std::vector<size_t>* sources, std::vector<size_t>* targets) const {
    for (size_t s = 0; s < settled_.size(); ++s) {
      if (!settled_[s] && (run == 0 || tensor(s).run == run)) sources->push_back(s);
    }
    for (size_t t = 0; t < targets_.size(); ++t) {
      if (targets_[t].source == kNone && (run == 0 || run == (targets_[t].normalises ? 2 : 1))) targets->push_back(t);
    }
  }

  bool fits(size_t s, size_t t) const {
    if (!same_shape(tensor(s).shape, target_shape(t))) return false;
    const Role role = source_roles_[s];
    return role == Role::kUnknown || role == targets_[t].role;
  }

  // Counts the ways to fill all open targets with open sources in the same order (0, 1, or 2 for more), starting from
  // the end: ways(i, j) = ways(i + 1, j) [source i is not used] + ways(i + 1, j + 1) [source i fills target j].
  void by_order() {
    if (!source_.ordered_in_runs && by_order_in(0)) return;
    const auto in_runs = [](const SourceTensor& x) { return x.run != 0; };
    if (std::none_of(source_.tensors.begin(), source_.tensors.end(), in_runs)) return;
    (void)by_order_in(1);
    if (report_.problems.empty()) (void)by_order_in(2);
  }

  // False: there is no way.
  bool by_order_in(int run) {
    std::vector<size_t> sources, targets;
    open(run, &sources, &targets);
    if (targets.empty() || sources.size() < targets.size() || !source_.ordered) return false;
    const size_t rows = sources.size(), columns = targets.size();
    constexpr size_t kMaxCells = size_t{1} << 26;
    if (rows > kMaxCells / (columns + 1)) return false;
    std::vector<uint8_t> ways((rows + 1) * (columns + 1), 0);
    auto at = [&](size_t i, size_t j) -> uint8_t& { return ways[i * (columns + 1) + j]; };
    for (size_t i = 0; i <= rows; ++i) at(i, columns) = 1;
    for (size_t i = rows; i-- > 0;) {
      for (size_t j = columns; j-- > 0;) {
        const int sum = at(i + 1, j) + (fits(sources[i], targets[j]) ? at(i + 1, j + 1) : 0);
        at(i, j) = static_cast<uint8_t>(std::min(sum, 2));
      }
    }
    if (at(0, 0) == 0) return false;
    if (at(0, 0) > 1) {
      report_.problem("", "by order and shape there is more than one way to fill " + std::to_string(columns) +
                              " constants from " + std::to_string(rows) + " tensors: say which with --map");
      return true;
    }
    for (size_t i = 0, j = 0; i < rows && j < columns; ++i) {
      if (!fits(sources[i], targets[j]) || at(i + 1, j + 1) == 0) continue;
      assign(sources[i], targets[j++], "order and shape");
    }
    return true;
  }

  void by_unique_shape() {
    std::vector<size_t> sources, targets;
    open(0, &sources, &targets);
    std::vector<std::pair<size_t, size_t>> pairs;
    for (size_t t : targets) {
      size_t candidate = kNone, candidates = 0, rivals = 0;
      for (size_t s : sources) {
        if (!same_shape(tensor(s).shape, target_shape(t))) continue;
        candidate = s;
        ++candidates;
      }
      for (size_t other : targets) rivals += target_shape(other) == target_shape(t);
      if (candidates == 1 && rivals == 1 && fits(candidate, t)) pairs.emplace_back(candidate, t);
    }
    for (const auto& [s, t] : pairs) assign(s, t, "unique shape");
  }

  void finish() {
    const bool earlier_problems = !report_.problems.empty();
    warn_of_dropped();
    size_t left = 0;
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      const SourceTensor& x = tensor(s);
      const bool stored = used_[s] != kNone;
      const Shape& shape = x.file_shape.empty() ? x.shape : x.file_shape;
      report_.tensors.push_back({x.name, name(x.type), shape, stored ? target_name(used_[s]) : "",
                                 how_[s].empty() ? "no place found" : how_[s]});
      left += !settled_[s];
    }
    size_t missing = 0;
    for (size_t t = 0; t < targets_.size(); ++t) {
      if (targets_[t].source != kNone) continue;
      ++missing;
      report_.tensors.push_back({"", "", target_shape(t), target_name(t), "nothing fills it"});
      report_.problem("constant '" + target_name(t) + "'",
                      "no tensor of shape " + to_string(target_shape(t)) + " is its only match");
    }
    for (size_t s = 0; s < source_.tensors.size(); ++s) {
      if (settled_[s]) continue;
      const std::string shape = to_string(tensor(s).shape);
      report_.problem(describe(s), looks_like_parameter(s)
                                       ? "a parameter of a layer that the architecture does not have, or has by "
                                         "another name: no constant is the only match for " +
                                             shape
                                       : "no constant of the architecture is the only match for " + shape +
                                             " (drop it with the rule 'NAME=')");
    }
    if (left == 0 && missing == 0 && !earlier_problems) {
      store();
    } else if (!prefix_.text.empty() && !prefix_.of_all) {
      report_.note(rule_against(prefix_));
    }
  }

  void store() {
    for (const Target& target : targets_) {
      const SourceTensor& x = tensor(target.source);
      const auto bad = std::count_if(x.values.begin(), x.values.end(), [](float v) { return !std::isfinite(v); });
      if (bad > 0)
        report_.note("tensor '" + printable(x.name) + "' has " + std::to_string(bad) + " infinite or undefined values");
      if (x.type != ElementType::kFloat32) {
        report_.note("tensor '" + printable(x.name) + "' converted from " + name(x.type) + " to float32");
      }
      graph_.value(target.id).constant = x.values.tensor(graph_.shape(target.id));
    }
  }

  const SourceTensors& source_;
  const NameRules& rules_;
  Graph& graph_;
  Report& report_;
  std::vector<Target> targets_;
  std::vector<Role> source_roles_;
  std::unordered_map<std::string, size_t> by_name_, by_flat_name_;
  std::vector<std::string> how_;  // one per source tensor
  std::vector<size_t> used_;      // the target of each source tensor
  std::vector<bool> settled_;
  NamePrefix prefix_;
  std::vector<size_t> dropped_by_;  // 1-based number of the rule; 0: none
};

}  // namespace

void drop_weights(Graph* graph) {
  for (const auto& [id, part] : weight_roles(*graph)) {
    Value& value = graph->value(id);
    if (!value.is_constant) continue;
    value.constant.owner.reset();
    value.constant.data = nullptr;
  }
}

void match_weights(SourceTensors source, const NameRules& rules, Graph* graph, Report* report) {
  Matcher(source, rules, graph, report).run();
}

}  // namespace sparsenet::converter
