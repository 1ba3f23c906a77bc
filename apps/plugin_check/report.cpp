#include "plugin_check/report.h"

#include <cstdio>

namespace sparsenet::plugin_check {
namespace {

const char* word(Verdict::Kind kind) {
  return kind == Verdict::kPassed ? "ok" : kind == Verdict::kSkipped ? "skipped" : "failed";
}

std::string quoted(const std::string& raw) {
  std::string out = "\"";
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    char code[8];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      std::snprintf(code, sizeof code, "\\u%04x", byte);
      out += code;
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

void print_row(const Row& row) {
  const Verdict& v = row.verdict;
  const char* mark = v.kind == Verdict::kPassed ? "ok" : v.kind == Verdict::kSkipped ? "-" : "FAILED";
  std::printf("%-7s %s", mark, row.name.c_str());
  if (!v.text.empty()) std::printf(": %s", v.text.c_str());
  std::printf("\n");
  std::fflush(stdout);
}

void print_end(const std::vector<Row>& rows, const std::string& verdict) {
  bool any = false;
  for (const Row& row : rows) any = any || row.is_step;
  if (any) std::printf("\n%-28s %6s %14s %14s\n", "steps", "cases", "not supported", "largest error");
  for (const Row& row : rows) {
    if (!row.is_step) continue;
    const Verdict& v = row.verdict;
    std::printf("%-28s %6u %14u", row.name.c_str(), v.cases, v.unsupported);
    if (v.cases > 0) std::printf(" %14.1e", v.worst);
    if (v.kind == Verdict::kFailed) std::printf("  FAILED");
    if (v.kind != Verdict::kFailed && v.unsupported > 0) std::printf("  %s", v.reason.c_str());
    std::printf("\n");
  }
  std::printf("\n%s\n", verdict.c_str());
}

void print_json(const std::string& path, const std::vector<Row>& rows, bool conformant, const std::string& verdict) {
  std::printf("{\n  \"plugin\": %s,\n  \"conformant\": %s,\n  \"verdict\": %s,\n  \"checks\": [", quoted(path).c_str(),
              conformant ? "true" : "false", quoted(verdict).c_str());
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    std::printf("%s\n    {\"name\": %s, \"result\": \"%s\", \"text\": %s", i == 0 ? "" : ",", quoted(row.name).c_str(),
                word(row.verdict.kind), quoted(row.verdict.text).c_str());
    if (row.is_step) {
      std::printf(", \"cases\": %u, \"not_supported\": %u, \"largest_error\": %.3e", row.verdict.cases,
                  row.verdict.unsupported, row.verdict.worst);
    }
    std::printf("}");
  }
  std::printf("\n  ]\n}\n");
}

}  // namespace sparsenet::plugin_check
