#include "converter/onnx/graph_order.h"

#include <queue>
#include <unordered_map>

namespace sparsenet::converter {
namespace {

using onnx_ns::GraphProto;
using onnx_ns::NodeProto;

void for_each_read_in(const GraphProto& graph, const std::function<void(const std::string&)>& visit) {
  for (const NodeProto& node : graph.node()) for_each_read(node, visit);
  for (const auto& output : graph.output()) visit(output.name());
}

class Order {
 public:
  explicit Order(const GraphProto& graph) : graph_(graph), needed_(static_cast<size_t>(graph.node_size()), false) {}

  NodeOrder run(const std::vector<std::string>& wanted) {
    find_makers();
    for (const std::string& name : wanted) need(name);
    for (int i = 0; i < graph_.node_size(); ++i) {
      if (graph_.node(i).output_size() == 0) need_node(i);
    }
    // A list instead of recursion: chains of nodes are as long as a file makes them.
    while (!left_.empty()) {
      const int node = left_.back();
      left_.pop_back();
      for_each_read(graph_.node(node), [this](const std::string& name) { need(name); });
    }
    sort();
    return std::move(out_);
  }

 private:
  void find_makers() {
    for (int i = 0; i < graph_.node_size(); ++i) {
      for (const std::string& output : graph_.node(i).output()) {
        if (output.empty() || maker_.emplace(output, i).second) continue;
        out_.problems.emplace_back(subject_of(graph_.node(i)), "output '" + output + "' is made twice");
      }
    }
  }

  void need(const std::string& name) {
    const auto found = maker_.find(name);
    if (found != maker_.end()) need_node(found->second);
  }

  void need_node(int node) {
    if (needed_[static_cast<size_t>(node)]) return;
    needed_[static_cast<size_t>(node)] = true;
    left_.push_back(node);
  }

  // Takes the first node of the file all of whose inputs are made, again and again.
  void sort() {
    const size_t count = needed_.size();
    std::vector<size_t> missing(count, 0);
    std::vector<std::vector<int>> readers(count);
    std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
    for (int i = 0; i < graph_.node_size(); ++i) {
      const auto at = static_cast<size_t>(i);
      if (!needed_[at]) continue;
      for_each_read(graph_.node(i), [&](const std::string& name) {
        const auto found = maker_.find(name);
        if (found == maker_.end()) return;
        readers[static_cast<size_t>(found->second)].push_back(i);
        ++missing[at];
      });
      if (missing[at] == 0) ready.push(i);
    }
    while (!ready.empty()) {
      const int node = ready.top();
      ready.pop();
      out_.nodes.push_back(node);
      for (const int reader : readers[static_cast<size_t>(node)]) {
        if (--missing[static_cast<size_t>(reader)] == 0) ready.push(reader);
      }
    }
    tell_cycle(missing);
  }

  // Nodes that are left either are in a cycle or read from one: going back from any of them leads into it.
  void tell_cycle(const std::vector<size_t>& missing) {
    int node = -1;
    for (int i = 0; i < graph_.node_size() && node < 0; ++i) {
      if (needed_[static_cast<size_t>(i)] && missing[static_cast<size_t>(i)] > 0) node = i;
    }
    if (node < 0) return;
    std::vector<bool> seen(missing.size(), false);
    while (!seen[static_cast<size_t>(node)]) {
      seen[static_cast<size_t>(node)] = true;
      int before = -1;
      for_each_read(graph_.node(node), [&](const std::string& name) {
        const auto found = maker_.find(name);
        if (before < 0 && found != maker_.end() && missing[static_cast<size_t>(found->second)] > 0) {
          before = found->second;
        }
      });
      if (before < 0) break;
      node = before;
    }
    out_.problems.emplace_back(subject_of(graph_.node(node)), "it depends on its own output: the graph has a cycle");
  }

  const GraphProto& graph_;
  std::unordered_map<std::string, int> maker_;  // of a value: the node
  std::vector<bool> needed_;
  std::vector<int> left_;  // needed, but what they read has not been looked at
  NodeOrder out_;
};

}  // namespace

std::string subject_of(const NodeProto& node) {
  std::string name = node.name();
  if (name.empty() && node.output_size() > 0) name = node.output(0);
  return node.op_type() + " '" + name + "'";
}

void for_each_read(const NodeProto& node, const std::function<void(const std::string&)>& visit) {
  for (const std::string& input : node.input()) {
    if (!input.empty()) visit(input);
  }
  for (const auto& attribute : node.attribute()) {
    if (attribute.has_g()) for_each_read_in(attribute.g(), visit);
  }
}

NodeOrder order_nodes(const GraphProto& graph, const std::vector<std::string>& wanted) {
  return Order(graph).run(wanted);
}

}  // namespace sparsenet::converter
