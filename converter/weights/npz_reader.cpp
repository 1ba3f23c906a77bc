#include "converter/io/npy.h"
#include "converter/io/zip_archive.h"
#include "converter/report.h"
#include "converter/weights/readers.h"

namespace sparsenet::converter {

Result<SourceTensors> read_npz(const FileBytes& file) {
  const UseBudget budget = UseBudget::keep_or_make(file.size);
  Result<ZipArchive> archive = ZipArchive::open(file.data, file.size);
  if (!archive.ok()) return archive.status();
  SourceTensors out;
  out.format = "NumPy (.npz)";
  const std::vector<std::string> names = archive->names();
  for (const std::string& entry : names) {
    const std::string what = "array '" + printable(entry) + "'";
    if (entry.size() < 5 || entry.compare(entry.size() - 4, 4, ".npy") != 0) {
      out.notes.push_back(what + " is not a .npy array: ignored");
      continue;
    }
    SPARSENET_RETURN_IF_ERROR(check_tensor_count(out.tensors.size() + 1));
    SPARSENET_ASSIGN_OR_RETURN(FileBytes bytes, archive->read(entry));
    Result<NpyView> view = parse_npy(bytes.data, bytes.size);
    if (!view.ok()) return view.status().with_context(what);
    SourceTensor tensor;
    tensor.name = entry.substr(0, entry.size() - 4);
    tensor.type = view->type;
    tensor.shape = view->shape;
    const Status status = within_budget([&]() -> Status {
      if (is_float(view->type)) tensor.values = npy_floats(*view, bytes.owner);
      return {};
    });
    if (!status.ok()) return status.with_context(what);
    out.tensors.push_back(std::move(tensor));
  }
  if (out.tensors.empty()) return unsupported("the archive holds no .npy array");
  return out;
}

}  // namespace sparsenet::converter
