#include "converter/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sparsenet::converter {

std::string printable(const std::string& text) {
  constexpr size_t kMaxLength = 400;
  std::string out = text.substr(0, kMaxLength);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() > kMaxLength) out += "...";
  return out;
}

void Report::problem(std::string subject, std::string reason) {
  problems.push_back({printable(subject), printable(reason)});
}

std::string to_line(const Problem& problem) {
  return problem.subject.empty() ? problem.reason : problem.subject + ": " + problem.reason;
}

std::string to_json(const Report& report) {
  using nlohmann::ordered_json;
  ordered_json root;
  root["input"] = report.input;
  root["format"] = report.format;
  root["producer"] = report.producer;
  root["architecture"] = report.architecture;
  root["output"] = report.output;
  root["converted"] = report.problems.empty();
  ordered_json problems = ordered_json::array();
  for (const Problem& p : report.problems) problems.push_back({{"subject", p.subject}, {"reason", p.reason}});
  root["problems"] = std::move(problems);
  ordered_json tensors = ordered_json::array();
  for (const TensorRecord& t : report.tensors) {
    tensors.push_back(
        {{"source", t.source}, {"type", t.type}, {"shape", t.shape}, {"target", t.target}, {"how", t.how}});
  }
  root["tensors"] = std::move(tensors);
  root["notes"] = report.notes;
  if (report.problems.empty()) {
    root["operators"] = report.operators;
    root["parameters"] = report.parameters;
    root["macs"] = report.macs;
    root["flushed_weights"] = report.flushed_weights;
    root["file_bytes"] = report.file_bytes;
    root["test_vectors"] = report.test_vectors;
    root["plans"] = ordered_json::array();
    for (const Report::PlanRecord& plan : report.plans) {
      root["plans"].push_back({{"target", plan.target}, {"batch", plan.batch}, {"trains", plan.trains}});
    }
    root["seconds"] = report.seconds;
  }
  // Names come from files: bytes that are not UTF-8 are replaced, never an exception.
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string tensor_table(const Report& report) {
  size_t source_width = 6, shape_width = 5;
  for (const TensorRecord& t : report.tensors) {
    source_width = std::max(source_width, std::min<size_t>(printable(t.source).size(), 60));
    shape_width = std::max(shape_width, std::min<size_t>(to_string(t.shape).size(), 24));
  }
  auto pad = [](std::string text, size_t width) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    return text;
  };
  std::string out;
  for (const TensorRecord& t : report.tensors) {
    const std::string source = t.source.empty() ? "(none)" : printable(t.source);
    const std::string target = t.target.empty() ? "(not stored)" : printable(t.target);
    out += "  " + pad(source, source_width) + "  " + pad(t.type, 8) + "  " + pad(to_string(t.shape), shape_width) +
           "  -> " + target + "  (" + t.how + ")\n";
  }
  return out;
}

}  // namespace sparsenet::converter
