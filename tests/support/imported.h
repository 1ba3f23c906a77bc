// What the ONNX importer makes of a file that a test has written, and what the network then computes.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <string>
#include <vector>

#include "converter/importers.h"
#include "support/onnx_file.h"

namespace sparsenet::test {

// A line for each.
inline std::string problems_of(const converter::Report& report) {
  std::string all;
  for (const converter::Problem& problem : report.problems) all += converter::to_line(problem) + "\n";
  return all;
}

struct Imported {
  converter::Report report;
  Model model;

  bool ok() const { return report.problems.empty(); }
  const Graph& graph() const { return model.graph; }
  std::string text() const {  // the problems and notes, a line each
    std::string all = problems_of(report);
    for (const std::string& note : report.notes) all += note + "\n";
    return all;
  }
  std::string first_problem() const { return ok() ? "" : converter::to_line(report.problems[0]); }
  bool tells(const std::string& part) const { return text().find(part) != std::string::npos; }
  size_t count(Op op) const {
    const auto& nodes = model.graph.nodes;
    return static_cast<size_t>(std::count_if(nodes.begin(), nodes.end(), [op](const Node& n) { return n.op == op; }));
  }
};

// `folder`: where data that lie outside the file are looked for.
inline Imported import_file(const OnnxFile& file, const converter::GraphOptions& options = {},
                            const std::string& folder = "") {
  Imported out;
  const std::string text = file.text();
  const converter::FileBytes bytes{reinterpret_cast<const uint8_t*>(text.data()), text.size(), nullptr};
  out.model.graph = converter::import_onnx(bytes, folder, options, &out.report);
  return out;
}

// One of the outputs of a graph with one input, for the batch that the graph has.
inline std::vector<float> run_graph(const Graph& graph, const std::vector<float>& input, size_t output = 0) {
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.threads = 1;
  options.batch = graph.shape(graph.inputs[0])[0];
  Result<Session> session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(session->set_input(0, input.data(), input.size()).ok());
  REQUIRE(session->run().ok());
  std::vector<float> values(static_cast<size_t>(element_count(session->outputs()[output].shape)));
  REQUIRE(session->get_output(output, values.data(), values.size()).ok());
  return values;
}

}  // namespace sparsenet::test
