// A program for tests: owns its tables, with one short call per row.
#pragma once

#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "minisim/engine.hpp"

struct Builder : minisim::Tables {
    std::uint16_t core = 0;  // of the operations to come

    // Rows padded to 64 bytes unless a pitch is given; a storage of its own unless one is.
    std::uint32_t tensor(std::uint32_t rows, std::uint32_t cols, minisim::Role role,
                         std::uint32_t pitch = 0, std::uint32_t storage = minisim::kNone,
                         minisim::DType dtype = minisim::DType::kFp32) {
        minisim::TensorRow x{};
        x.rows = rows;
        x.cols = cols;
        x.pitch = pitch != 0 ? pitch : (cols * minisim::item_size(dtype) + 63) / 64 * 64;
        x.dtype = static_cast<std::uint8_t>(dtype);
        x.storage = storage != minisim::kNone ? storage : 1000 + id(tensors);
        x.address = std::uint64_t{x.storage} << 20;
        x.role = static_cast<std::uint8_t>(role);
        tensors.push_back(x);
        return id(tensors) - 1;
    }

    std::uint32_t typed(std::uint32_t rows, std::uint32_t cols, minisim::Role role,
                        minisim::DType dtype) {
        return tensor(rows, cols, role, 0, minisim::kNone, dtype);
    }

    std::uint32_t tile(std::uint32_t tensor, std::uint32_t row, std::uint32_t col,
                       std::uint32_t rows, std::uint32_t cols, std::uint32_t final = 0) {
        tiles.push_back({tensor, row, col, rows, cols, final});
        return id(tiles) - 1;
    }

    std::uint32_t load(std::uint32_t tile, std::uint32_t sram, std::uint32_t version = 0) {
        return transfer(minisim::Opcode::kLoad, tile, sram, version);
    }
    std::uint32_t store(std::uint32_t tile, std::uint32_t sram, std::uint32_t version) {
        return transfer(minisim::Opcode::kStore, tile, sram, version);
    }

    // c (+)= a x b without transposes or epilogue; change matmuls.back() for those.
    std::uint32_t execute(std::uint32_t a, std::uint32_t a_sram, std::uint32_t b,
                          std::uint32_t b_sram, std::uint32_t c, std::uint32_t c_sram,
                          std::uint32_t step = 0) {
        minisim::MatmulRow x{};
        x.a = a;
        x.b = b;
        x.c = c;
        x.bias = x.residual = x.acc = minisim::kNone;
        x.bias_sram = x.residual_sram = x.acc_sram = minisim::kNone;
        x.a_sram = a_sram;
        x.b_sram = b_sram;
        x.c_sram = c_sram;
        x.a_pieces = minisim::kNone;
        x.taps = 1;
        x.m = tiles[c].rows;
        x.k = tiles[a].cols;
        x.n = tiles[c].cols;
        x.step = step;
        x.last = step + 1 == tiles[c].final;
        x.dtype = tensors[tiles[a].tensor].dtype;
        matmuls.push_back(x);
        return push(minisim::Opcode::kExecute, id(matmuls) - 1);
    }

    // The same through `acc`, whose final version is the number of steps.
    std::uint32_t execute_through(std::uint32_t acc, std::uint32_t acc_sram, std::uint32_t a,
                                  std::uint32_t a_sram, std::uint32_t b, std::uint32_t b_sram,
                                  std::uint32_t c, std::uint32_t c_sram, std::uint32_t step) {
        const std::uint32_t op = execute(a, a_sram, b, b_sram, c, c_sram, step);
        matmuls.back().acc = acc;
        matmuls.back().acc_sram = acc_sram;
        matmuls.back().last = step + 1 == tiles[acc].final;
        return op;
    }

    std::uint32_t vector(minisim::VectorOp op, std::uint32_t dst, std::uint32_t dst_sram,
                         std::uint32_t src0, std::uint32_t src0_sram,
                         std::uint32_t src1 = minisim::kNone,
                         std::uint32_t src1_sram = minisim::kNone) {
        minisim::VectorRow x{};
        x.op = static_cast<std::uint8_t>(op);
        x.src0 = src0;
        x.src1 = src1;
        x.dst = dst;
        x.src0_sram = src0_sram;
        x.src1_sram = src1_sram;
        x.src2 = x.src2_sram = minisim::kNone;
        x.acc = x.acc_sram = x.src0_pieces = minisim::kNone;
        x.dst_sram = dst_sram;
        x.rows = tiles[dst].rows;
        x.cols = tiles[dst].cols;
        x.dtype = tensors[tiles[dst].tensor].dtype;
        vectors.push_back(x);
        return push(minisim::Opcode::kVector, id(vectors) - 1);
    }

    minisim::Tables schedule() const { return *this; }

private:
    template <class Row>
    static std::uint32_t id(const std::vector<Row>& rows) {
        return static_cast<std::uint32_t>(rows.size());
    }

    std::uint32_t transfer(minisim::Opcode opcode, std::uint32_t tile, std::uint32_t sram,
                           std::uint32_t version) {
        transfers.push_back({tile, version, sram});
        return push(opcode, id(transfers) - 1);
    }

    std::uint32_t push(minisim::Opcode opcode, std::uint32_t row) {
        minisim::StreamRow x{};
        x.opcode = static_cast<std::uint8_t>(opcode);
        x.queue = static_cast<std::uint8_t>(minisim::queue_of(opcode));
        x.row = row;
        x.core = core;
        x.sync = minisim::kNone;
        stream.push_back(x);
        return id(stream) - 1;
    }
};

// numpy's name for T.
template <class T>
const char* numpy_name() {
    if (std::is_floating_point_v<T>) return "float32";
    return sizeof(T) == 1 ? "int8" : sizeof(T) == 2 ? "int16" : "int32";
}

// Packed values as a matrix, of the type that stands for a tensor's.
template <class T>
minisim::HostMatrix matrix(const std::vector<T>& values, std::size_t rows, std::size_t cols) {
    return {reinterpret_cast<const std::byte*>(values.data()), rows, cols,
            static_cast<std::ptrdiff_t>(cols * sizeof(T)), static_cast<std::ptrdiff_t>(sizeof(T)),
            numpy_name<T>()};
}

template <class T>
void set(minisim::Engine& engine, std::uint32_t tensor, const std::vector<T>& values) {
    const minisim::TensorView shape = engine.tensor_view(tensor);
    engine.set_tensor(tensor, matrix(values, shape.rows, shape.cols));
}

template <class T = float>
std::vector<T> get(const minisim::Engine& engine, std::uint32_t tensor) {
    const minisim::TensorCopy copy = engine.tensor(tensor);
    std::vector<T> values(copy.rows * copy.cols);
    std::memcpy(values.data(), copy.data.get(), values.size() * sizeof(T));
    return values;
}

// Events one by one: start(op) and retire(op) at a cycle.
struct Driver {
    minisim::Engine& engine;
    std::int64_t cycle = 0;

    void start(std::uint32_t op) { send(2 * op); }
    void retire(std::uint32_t op) { send(2 * op + 1); }
    void both(std::initializer_list<std::uint32_t> ops) {
        for (const std::uint32_t op : ops) {
            start(op);
            retire(op);
        }
    }

private:
    void send(std::uint32_t event) {
        engine.replay(&event, &cycle, 1);
        ++cycle;
    }
};
