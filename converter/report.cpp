#include "converter/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace sparsenet::converter {
namespace {

// Removes quoted names, lists in brackets and numbers, which differ between problems of the same kind.
std::string without_particulars(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool number = c >= '0' && c <= '9';
    const size_t end = c == '\'' ? text.find('\'', i + 1) : c == '[' ? text.find(']', i + 1) : std::string::npos;
    if (number && (out.empty() || out.back() != '#')) out += '#';
    if (number) continue;
    out += c;
    if (end != std::string::npos) i = end;
  }
  return out;
}

// "Conv 'layer1'" -> "Conv"
std::string kind_of(const std::string& subject) {
  return subject.substr(0, subject.find('\''));
}

std::string group_line(const Report& report, const std::vector<size_t>& problems) {
  const Problem& first = report.problems[problems.front()];
  const std::string count = std::to_string(problems.size());
  if (first.cause == 0) {
    if (problems.size() == 1) return to_line(first);
    if (first.subject.empty()) return first.reason + " (" + count + " times)";
    return first.subject + " (the first of " + count + "): " + first.reason;
  }
  const Cause& cause = report.causes[first.cause - 1];
  std::string line = cause.text + " (";
  if (problems.size() > 1) line += count + " " + cause.unit + ", the first: ";
  line += to_line(first) + ")";
  return cause.remedy.empty() ? line : line + ": " + cause.remedy;
}

}  // namespace

void Report::problem(std::string subject, std::string reason, size_t cause) {
  problems.push_back({printable(subject), printable(reason), cause});
}

size_t Report::cause(Cause cause) {
  cause.text = printable(cause.text);
  cause.remedy = printable(cause.remedy);
  for (size_t i = 0; i < causes.size(); ++i) {
    if (causes[i].text == cause.text && causes[i].remedy == cause.remedy) return i + 1;
  }
  causes.push_back(std::move(cause));
  return causes.size();
}

std::string to_line(const Problem& problem) {
  if (problem.reason.empty()) return problem.subject;
  return problem.subject.empty() ? problem.reason : problem.subject + ": " + problem.reason;
}

std::vector<ProblemGroup> grouped_problems(const Report& report) {
  std::vector<ProblemGroup> groups;
  std::unordered_map<std::string, size_t> known;
  for (size_t i = 0; i < report.problems.size(); ++i) {
    const Problem& p = report.problems[i];
    const std::string key =
        p.cause > 0 ? "cause " + std::to_string(p.cause) : kind_of(p.subject) + "\n" + without_particulars(p.reason);
    const auto [at, added] = known.emplace(key, groups.size());
    if (added) groups.emplace_back();
    groups[at->second].problems.push_back(i);
  }
  for (ProblemGroup& group : groups) group.line = group_line(report, group.problems);
  return groups;
}

std::vector<std::string> grouped_notes(const Report& report) {
  std::vector<std::string> lines;
  std::vector<size_t> more;
  std::unordered_map<std::string, size_t> known;
  for (const std::string& note : report.notes) {
    const auto [at, added] = known.emplace(without_particulars(note), lines.size());
    if (added) {
      lines.push_back(note);
      more.push_back(0);
    } else {
      ++more[at->second];
    }
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (more[i] > 0) lines[i] += " (and " + std::to_string(more[i]) + " more like it)";
  }
  return lines;
}

std::string to_json(const Report& report) {
  using nlohmann::ordered_json;
  auto root = ordered_json::object();
  root["input"] = report.input;
  root["format"] = report.format;
  root["producer"] = report.producer;
  root["architecture"] = report.architecture;
  root["output"] = report.output;
  root["converted"] = report.problems.empty();
  ordered_json problems = ordered_json::array();
  for (const Problem& p : report.problems) {
    // What holds for all problems of a cause is not repeated for each.
    const bool by_cause = p.reason.empty() && p.cause > 0;
    problems.push_back({{"subject", p.subject}, {"reason", by_cause ? report.causes[p.cause - 1].text : p.reason}});
  }
  root["problems"] = std::move(problems);
  ordered_json causes = ordered_json::array();
  for (const ProblemGroup& group : grouped_problems(report)) {
    causes.push_back({{"line", group.line},
                      {"count", group.problems.size()},
                      {"first", report.problems[group.problems.front()].subject},
                      {"problems", group.problems}});
  }
  root["causes"] = std::move(causes);
  ordered_json tensors = ordered_json::array();
  for (const TensorRecord& t : report.tensors) {
    tensors.push_back(
        {{"source", t.source}, {"type", t.type}, {"shape", t.shape}, {"target", t.target}, {"how", t.how}});
  }
  root["tensors"] = std::move(tensors);
  root["notes"] = report.notes;
  root["warnings"] = report.warnings;
  if (report.check.images > 0) {
    const bool finite = std::isfinite(report.check.largest_error);
    root["check"] = {{"images", report.check.images},
                     {"largest_error", finite ? ordered_json(report.check.largest_error) : ordered_json()},
                     {"tolerance", report.check.tolerance},
                     {"stored", report.problems.empty() ? report.check.stored : 0}};
  }
  if (report.problems.empty()) {
    root["operators"] = report.operators;
    root["parameters"] = report.parameters;
    root["macs"] = report.macs;
    root["flushed_weights"] = report.flushed_weights;
    root["mean"] = report.mean;
    root["std"] = report.std_dev;
    root["file_bytes"] = report.file_bytes;
    root["test_vectors"] = report.test_vectors;
    root["plans"] = ordered_json::array();
    for (const Report::PlanRecord& plan : report.plans) {
      root["plans"].push_back({{"target", plan.target}, {"batch", plan.batch}, {"trains", plan.trains}});
    }
    root["seconds"] = report.seconds;
  }
  // Names come from files: bytes that are not UTF-8 are replaced instead of raising an exception.
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
