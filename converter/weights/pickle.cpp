#include "converter/weights/pickle.h"

#include <cstdio>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "converter/io/numeric.h"
#include "converter/report.h"

namespace sparsenet::converter {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxValues = size_t{1} << 22;  // a network of a million tensors is no classifier
constexpr uint32_t kMark = UINT32_MAX;          // on the stack only
constexpr size_t kMaxGlobalBytes = 64;          // more than the longest known name

// The overhead of a container of small things, and how much of its capacity a growing one may leave unused.
constexpr uint64_t kHeapBytes = 32, kGrowth = 2;

// The names that pickles of tensors and checkpoints may refer to.
bool is_known_global(const std::string& name) {
  static const char* const kNames[] = {
      "collections.OrderedDict",
      "torch._utils._rebuild_tensor",
      "torch._utils._rebuild_tensor_v2",
      "torch._utils._rebuild_parameter",
      "torch.nn.parameter.Parameter",
      "torch.Size",
      "torch.device",
  };
  for (const char* known : kNames) {
    if (name == known) return true;
  }
  // torch.FloatStorage, torch.cuda.HalfStorage, ...: only names, resolved by the tensor reader.
  std::string rest;
  if (name.compare(0, 11, "torch.cuda.") == 0) {
    rest = name.substr(11);
  } else if (name.compare(0, 6, "torch.") == 0) {
    rest = name.substr(6);
  }
  const bool storage = rest.size() > 7 && rest.compare(rest.size() - 7, 7, "Storage") == 0;
  return storage && rest.find('.') == std::string::npos;
}

class Machine {
 public:
  Machine(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  Result<Pickle> run() {
    for (;;) {
      if (at_ >= size_) return error("ends without STOP");
      const uint8_t opcode = data_[at_++];
      if (opcode == '.') break;
      SPARSENET_RETURN_IF_ERROR(step(opcode));
      if (pickle_.values.size() > kMaxValues) return error("more than " + std::to_string(kMaxValues) + " values");
      // One step adds one value and a few entries to stack and memo, all of which have been charged beforehand.
      const uint64_t entries =
          stack_.capacity() * sizeof(stack_[0]) + memo_.size() * (sizeof(*memo_.begin()) + kHeapBytes);
      const uint64_t values = (pickle_.values.size() + 1) * kGrowth * sizeof(PickleValue);
      SPARSENET_RETURN_IF_ERROR(pay(entries + values));
    }
    if (stack_.empty() || stack_.back() == kMark) return error("STOP without a value");
    pickle_.root = stack_.back();
    pickle_.consumed = at_;
    return std::move(pickle_);
  }

 private:
  Status error(const std::string& what) const {
    return invalid_model("pickle at byte " + std::to_string(at_) + ": " + what);
  }

  Status need(uint64_t bytes) const {
    if (bytes <= size_ - at_) return {};
    return error("expected " + std::to_string(bytes) + " more bytes, found " + std::to_string(size_ - at_));
  }

  // Charges the containers' present capacity plus everything copied so far.
  Status pay(uint64_t containers) {
    return pickle_.charge.raise_to(containers + copied_).with_context("pickle at byte " + std::to_string(at_));
  }
  // To be called before `bytes` are copied into a value: they stay there, and copying also takes time.
  Status charge(uint64_t bytes) {
    copied_ += bytes + kHeapBytes;
    return pay(0);
  }

  uint32_t add(Kind kind) {
    PickleValue value;
    value.kind = kind;
    pickle_.values.push_back(std::move(value));
    return static_cast<uint32_t>(pickle_.values.size() - 1);
  }
  PickleValue& value(uint32_t index) { return pickle_.values[index]; }

  void push(uint32_t index) { stack_.push_back(index); }
  void push_int(int64_t number) {
    const uint32_t index = add(Kind::kInt);
    value(index).integer = number;
    push(index);
  }
  void push_bool(bool flag) {
    const uint32_t index = add(Kind::kBool);
    value(index).integer = flag;
    push(index);
  }
  void push_text(Kind kind, std::string text) {
    const uint32_t index = add(kind);
    value(index).text = std::move(text);
    push(index);
  }

  Status pop(uint32_t* out) {
    if (stack_.empty() || stack_.back() == kMark) return error("stack underflow");
    *out = stack_.back();
    stack_.pop_back();
    return {};
  }
  // Pops everything above the topmost mark, in order, and the mark itself.
  Status pop_mark(std::vector<uint32_t>* out) {
    size_t mark = stack_.size();
    while (mark > 0 && stack_[mark - 1] != kMark) --mark;
    if (mark == 0) return error("no mark on the stack");
    SPARSENET_RETURN_IF_ERROR(charge((stack_.size() - mark) * sizeof(uint32_t)));
    out->assign(stack_.begin() + static_cast<std::ptrdiff_t>(mark), stack_.end());
    stack_.resize(mark - 1);
    return {};
  }
  Status top(Kind kind, const char* what, uint32_t* out) {
    if (stack_.empty() || stack_.back() == kMark) return error("stack underflow");
    *out = stack_.back();
    if (value(*out).kind != kind) return error(std::string("expected ") + what + " on the stack");
    return {};
  }

  Status read_text(uint64_t length, Kind kind) {
    SPARSENET_RETURN_IF_ERROR(need(length));
    SPARSENET_RETURN_IF_ERROR(charge(length));
    push_text(kind, std::string(reinterpret_cast<const char*>(data_ + at_), static_cast<size_t>(length)));
    at_ += static_cast<size_t>(length);
    return {};
  }

  Status read_line(std::string* out) {
    constexpr size_t kMaxLine = 4096;
    const size_t limit = size_ - at_ < kMaxLine ? size_ - at_ : kMaxLine;
    const void* end = std::memchr(data_ + at_, '\n', limit);
    if (!end) return error("a name without an end");
    const auto length = static_cast<size_t>(static_cast<const uint8_t*>(end) - (data_ + at_));
    out->assign(reinterpret_cast<const char*>(data_ + at_), length);
    at_ += length + 1;
    return {};
  }

  Status push_global(const std::string& module, const std::string& symbol) {
    // Texts may be long and used repeatedly, so no string is made of one that cannot be a known name.
    const bool too_long = module.size() + symbol.size() >= kMaxGlobalBytes;
    const std::string full = too_long ? (module + '.').substr(0, kMaxGlobalBytes) + symbol.substr(0, kMaxGlobalBytes)
                                      : module + "." + symbol;
    if (too_long || !is_known_global(full)) {
      // The first name in the pickle is the class of the whole object; PyTorch before 1.6 puts ('module', CLASS, ...)
      // around it.
      const bool whole = stack_.empty() || (stack_.size() == 2 && stack_[0] == kMark &&
                                            value(stack_[1]).text == "module" && pickle_.values.size() == 1);
      const std::string what = "the file asks for '" + printable(full) + "': ";
      if (whole) {
        return unsupported(
            what +
            "a whole pickled object, not its weights, and nothing is ever executed; save the weights alone "
            "(torch.save(torch.load(FILE, weights_only=False).state_dict(), 'weights.pth')) and convert these with "
            "--arch, "
            "or export the network to ONNX (torch.onnx.export), which needs no --arch");
      }
      return unsupported(what +
                         "only tensors and plain containers are read and nothing is ever executed; save the weights "
                         "alone (of a checkpoint: torch.save(torch.load(FILE, weights_only=False)['state_dict'], "
                         "'weights.pth'))");
    }
    push_text(Kind::kGlobal, full);
    return {};
  }

  Status tuple_of(size_t count) {
    const uint32_t index = add(Kind::kTuple);
    std::vector<uint32_t> items(count);
    for (size_t i = count; i-- > 0;) SPARSENET_RETURN_IF_ERROR(pop(&items[i]));
    value(index).items = std::move(items);
    push(index);
    return {};
  }

  Status get(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) return error("memo " + std::to_string(key) + " was never put");
    push(found->second);
    return {};
  }
  Status put(uint64_t key) {
    if (stack_.empty() || stack_.back() == kMark) return error("nothing to memoize");
    memo_[key] = stack_.back();
    return {};
  }

  Status long_int(uint64_t length) {
    SPARSENET_RETURN_IF_ERROR(need(length));
    if (length > 8) return read_text(length, Kind::kBigInt);
    uint64_t bits = 0;
    for (size_t i = 0; i < length; ++i) bits |= uint64_t{data_[at_ + i]} << (8 * i);
    if (length > 0 && length < 8 && (data_[at_ + length - 1] & 0x80)) bits |= ~uint64_t{0} << (8 * length);
    at_ += static_cast<size_t>(length);
    push_int(static_cast<int64_t>(bits));
    return {};
  }

  // A call in the pickle. Nothing is called: the known functions become values.
  Status reduce() {
    uint32_t args = 0, callable = 0;
    SPARSENET_RETURN_IF_ERROR(pop(&args));
    SPARSENET_RETURN_IF_ERROR(pop(&callable));
    if (value(callable).kind != Kind::kGlobal || value(args).kind != Kind::kTuple) {
      return error("a call of something that is not a known name");
    }
    const std::string name = value(callable).text;  // of a known global, therefore short
    const size_t count = value(args).items.size();
    const auto item = [&](size_t i) { return value(args).items[i]; };
    if (name == "torch._utils._rebuild_tensor" || name == "torch._utils._rebuild_tensor_v2") {
      if (count < 4) return error(name + " with " + std::to_string(count) + " arguments");
      SPARSENET_RETURN_IF_ERROR(charge(4 * sizeof(uint32_t)));
      const uint32_t index = add(Kind::kTensor);
      value(index).items = {item(0), item(1), item(2), item(3)};
      push(index);
      return {};
    }
    if (name == "torch._utils._rebuild_parameter" || name == "torch.nn.parameter.Parameter") {
      if (count == 0) return error(name + " without a tensor");
      push(item(0));  // a parameter is represented by its tensor
      return {};
    }
    if (name == "torch.Size") {
      if (count == 0) return error("torch.Size without sizes");
      push(item(0));
      return {};
    }
    if (name == "collections.OrderedDict") return ordered_dict(args);
    if (name == "torch.device") {
      push(add(Kind::kOpaque));
      return {};
    }
    return error("a call of '" + printable(name) + "'");
  }

  // OrderedDict() or OrderedDict([(key, value), ...]).
  Status ordered_dict(uint32_t args) {
    const uint32_t index = add(Kind::kDict);
    if (!value(args).items.empty()) {
      const uint32_t list = value(args).items[0];
      const size_t count = value(list).items.size();
      // Pairs may be shared by any number of dicts.
      SPARSENET_RETURN_IF_ERROR(charge(count * 2 * kGrowth * sizeof(uint32_t)));
      for (size_t i = 0; i < count; ++i) {
        const uint32_t pair = value(list).items[i];
        if (value(pair).items.size() != 2) return error("OrderedDict of something that is not a list of pairs");
        const uint32_t key = value(pair).items[0], entry = value(pair).items[1];
        value(index).items.insert(value(index).items.end(), {key, entry});
      }
    }
    push(index);
    return {};
  }

  Status set_items(const std::vector<uint32_t>& items) {
    if (items.size() % 2 != 0) return error("a key without a value");
    uint32_t dict = 0;
    SPARSENET_RETURN_IF_ERROR(top(Kind::kDict, "a dict", &dict));
    SPARSENET_RETURN_IF_ERROR(charge(items.size() * kGrowth * sizeof(uint32_t)));
    value(dict).items.insert(value(dict).items.end(), items.begin(), items.end());
    return {};
  }

  Status append(const std::vector<uint32_t>& items) {
    uint32_t list = 0;
    SPARSENET_RETURN_IF_ERROR(top(Kind::kList, "a list", &list));
    SPARSENET_RETURN_IF_ERROR(charge(items.size() * kGrowth * sizeof(uint32_t)));
    value(list).items.insert(value(list).items.end(), items.begin(), items.end());
    return {};
  }

  Status step(uint8_t opcode);
  Status step_numbers_and_text(uint8_t opcode);
  Status step_containers(uint8_t opcode);

  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
  uint64_t copied_ = 0;  // bytes copied into values
  Pickle pickle_;
  std::vector<uint32_t> stack_;
  std::unordered_map<uint64_t, uint32_t> memo_;
};

Status Machine::step(uint8_t opcode) {
  switch (opcode) {
    case 0x80: {  // PROTO
      SPARSENET_RETURN_IF_ERROR(need(1));
      const uint8_t protocol = data_[at_++];
      if (protocol > 5) return unsupported("pickle protocol: expected 2 to 5, found " + std::to_string(protocol));
      return {};
    }
    case 0x95:  // FRAME: only a hint for readers of streams
      SPARSENET_RETURN_IF_ERROR(need(8));
      at_ += 8;
      return {};
    case '(':  // MARK
      stack_.push_back(kMark);
      return {};
    case '0': {  // POP
      if (stack_.empty()) return error("stack underflow");
      stack_.pop_back();
      return {};
    }
    case '1': {  // POP_MARK
      std::vector<uint32_t> dropped;
      return pop_mark(&dropped);
    }
    case 'q':  // BINPUT
      SPARSENET_RETURN_IF_ERROR(need(1));
      return put(data_[at_++]);
    case 'r':  // LONG_BINPUT
      SPARSENET_RETURN_IF_ERROR(need(4));
      at_ += 4;
      return put(load_u32(data_ + at_ - 4));
    case 0x94:  // MEMOIZE
      return put(memo_.size());
    case 'h':  // BINGET
      SPARSENET_RETURN_IF_ERROR(need(1));
      return get(data_[at_++]);
    case 'j':  // LONG_BINGET
      SPARSENET_RETURN_IF_ERROR(need(4));
      at_ += 4;
      return get(load_u32(data_ + at_ - 4));
    case 'c': {  // GLOBAL
      std::string module, symbol;
      SPARSENET_RETURN_IF_ERROR(read_line(&module));
      SPARSENET_RETURN_IF_ERROR(read_line(&symbol));
      return push_global(module, symbol);
    }
    case 0x93: {  // STACK_GLOBAL
      uint32_t symbol = 0, module = 0;
      SPARSENET_RETURN_IF_ERROR(pop(&symbol));
      SPARSENET_RETURN_IF_ERROR(pop(&module));
      if (value(symbol).kind != Kind::kString || value(module).kind != Kind::kString)
        return error("a name that is no string");
      return push_global(value(module).text, value(symbol).text);
    }
    case 'Q': {  // BINPERSID
      uint32_t id = 0;
      SPARSENET_RETURN_IF_ERROR(pop(&id));
      const uint32_t index = add(Kind::kStorage);
      value(index).items = {id};
      push(index);
      return {};
    }
    case 'R':
      return reduce();
    case 'b': {  // BUILD: attributes of an OrderedDict (its version metadata), which tensors do not need
      uint32_t state = 0, object = 0;
      SPARSENET_RETURN_IF_ERROR(pop(&state));
      if (stack_.empty() || stack_.back() == kMark) return error("stack underflow");
      object = stack_.back();
      const Kind kind = value(object).kind;
      if (kind != Kind::kDict && kind != Kind::kTensor)
        return error("state for something that is neither dict nor tensor");
      return {};
    }
    default:
      return step_numbers_and_text(opcode);
  }
}

Status Machine::step_numbers_and_text(uint8_t opcode) {
  switch (opcode) {
    case 'N':
      push(add(Kind::kNone));
      return {};
    case 0x88:
      push_bool(true);
      return {};
    case 0x89:
      push_bool(false);
      return {};
    case 'J':  // BININT
      SPARSENET_RETURN_IF_ERROR(need(4));
      at_ += 4;
      push_int(static_cast<int32_t>(load_u32(data_ + at_ - 4)));
      return {};
    case 'K':  // BININT1
      SPARSENET_RETURN_IF_ERROR(need(1));
      push_int(data_[at_++]);
      return {};
    case 'M':  // BININT2
      SPARSENET_RETURN_IF_ERROR(need(2));
      at_ += 2;
      push_int(load_u16(data_ + at_ - 2));
      return {};
    case 0x8a:  // LONG1
      SPARSENET_RETURN_IF_ERROR(need(1));
      ++at_;
      return long_int(data_[at_ - 1]);
    case 0x8b:  // LONG4
      SPARSENET_RETURN_IF_ERROR(need(4));
      at_ += 4;
      return long_int(load_u32(data_ + at_ - 4));
    case 'G': {  // BINFLOAT, big-endian
      SPARSENET_RETURN_IF_ERROR(need(8));
      uint64_t bits = 0;
      for (size_t i = 0; i < 8; ++i) bits = (bits << 8) | data_[at_ + i];
      at_ += 8;
      const uint32_t index = add(Kind::kFloat);
      std::memcpy(&value(index).number, &bits, sizeof bits);
      push(index);
      return {};
    }
    case 0x8c:  // SHORT_BINUNICODE
    case 'U':   // SHORT_BINSTRING
    case 'C':   // SHORT_BINBYTES
      SPARSENET_RETURN_IF_ERROR(need(1));
      ++at_;
      return read_text(data_[at_ - 1], Kind::kString);
    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING
    case 'B':  // BINBYTES
      SPARSENET_RETURN_IF_ERROR(need(4));
      at_ += 4;
      return read_text(load_u32(data_ + at_ - 4), Kind::kString);
    case 0x8d:  // BINUNICODE8
    case 0x8e:  // BINBYTES8
      SPARSENET_RETURN_IF_ERROR(need(8));
      at_ += 8;
      return read_text(load_u64(data_ + at_ - 8), Kind::kString);
    default:
      return step_containers(opcode);
  }
}

Status Machine::step_containers(uint8_t opcode) {
  std::vector<uint32_t> items;
  switch (opcode) {
    case '}':
      push(add(Kind::kDict));
      return {};
    case ']':
      push(add(Kind::kList));
      return {};
    case ')':
      push(add(Kind::kTuple));
      return {};
    case 0x85:
      return tuple_of(1);
    case 0x86:
      return tuple_of(2);
    case 0x87:
      return tuple_of(3);
    case 't':    // TUPLE
    case 'l':    // LIST
    case 'd': {  // DICT
      SPARSENET_RETURN_IF_ERROR(pop_mark(&items));
      if (opcode == 'd' && items.size() % 2 != 0) return error("a key without a value");
      const uint32_t index = add(opcode == 't' ? Kind::kTuple : opcode == 'l' ? Kind::kList : Kind::kDict);
      value(index).items = std::move(items);
      push(index);
      return {};
    }
    case 's': {  // SETITEM
      items.resize(2);
      SPARSENET_RETURN_IF_ERROR(pop(&items[1]));
      SPARSENET_RETURN_IF_ERROR(pop(&items[0]));
      return set_items(items);
    }
    case 'u':  // SETITEMS
      SPARSENET_RETURN_IF_ERROR(pop_mark(&items));
      return set_items(items);
    case 'a': {  // APPEND
      items.resize(1);
      SPARSENET_RETURN_IF_ERROR(pop(&items[0]));
      return append(items);
    }
    case 'e':  // APPENDS
      SPARSENET_RETURN_IF_ERROR(pop_mark(&items));
      return append(items);
    default: {
      char code[8];
      std::snprintf(code, sizeof code, "0x%02x", opcode);
      return error(std::string("opcode ") + code + " is not one that saved tensors need");
    }
  }
}

}  // namespace

const PickleValue* Pickle::find(const PickleValue& dict, const char* key) const {
  if (dict.kind != Kind::kDict) return nullptr;
  const PickleValue* found = nullptr;  // the last one wins, as in Python
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& name = at(dict.items[i]);
    if (name.kind == Kind::kString && name.text == key) found = &at(dict.items[i + 1]);
  }
  return found;
}

Result<Pickle> read_pickle(const uint8_t* data, size_t size) {
  return Machine(data, size).run();
}

}  // namespace sparsenet::converter
