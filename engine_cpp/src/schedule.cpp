#include "minisim/schedule.hpp"

namespace minisim {

std::string Schedule::op_name(std::size_t op) const {
    const std::uint16_t core = stream[op].core;
    return std::string(opcode_name(opcode(op))) + " (op " + std::to_string(op) +
           (core != 0 ? " of core " + std::to_string(core) : "") + ")";
}

std::string Schedule::tile_name(std::uint32_t tile) const {
    const TileRow& t = tiles[tile];
    const auto range = [](std::uint64_t begin, std::uint64_t count) {
        return std::to_string(begin) + ":" + std::to_string(begin + count);
    };
    return "tensor " + std::to_string(t.tensor) + " [" + range(t.row, t.rows) + ", " +
           range(t.col, t.cols) + "]";
}

std::string Schedule::content_name(Content content) const {
    return "version " + std::to_string(content.version) + " of " + tile_name(content.tile);
}

const char* opcode_name(Opcode opcode) {
    switch (opcode) {
        case Opcode::kLoad: return "LOAD";
        case Opcode::kStore: return "STORE";
        case Opcode::kExecute: return "EXECUTE";
        case Opcode::kVector: return "VECTOR";
    }
    return "?";
}

const char* dtype_name(DType dtype) {
    switch (dtype) {
        case DType::kFp32: return "FP32";
        case DType::kBf16: return "BF16";
        case DType::kInt8: return "INT8";
        case DType::kInt32: return "INT32";
        case DType::kInt16: return "INT16";
        case DType::kBool: return "BOOL";
        case DType::kFp16: return "FP16";
        case DType::kUint8: return "UINT8";
        case DType::kFp8E4M3: return "FP8E4M3";
        case DType::kFp8E5M2: return "FP8E5M2";
    }
    return "?";
}

Queue queue_of(Opcode opcode) {
    switch (opcode) {
        case Opcode::kLoad: return Queue::kLoad;
        case Opcode::kStore: return Queue::kStore;
        case Opcode::kExecute: return Queue::kMatrix;
        case Opcode::kVector: return Queue::kVector;
    }
    return Queue::kVector;
}

}  // namespace minisim
