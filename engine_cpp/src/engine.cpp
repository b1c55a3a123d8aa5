#include "minisim/engine.hpp"

#include <cstring>
#include <new>
#include <utility>

#include "minisim/errors.hpp"
#include "minisim/interrupt.hpp"
#include "minisim/narrow.hpp"
#include "minisim/packing.hpp"

namespace minisim {
namespace {

constexpr std::uint64_t kWorkOfEvent = 10000;  // what it may cost beside its kernel, in multiply-adds

const EngineConfig& checked(const EngineConfig& config) {
    constexpr std::uint64_t kLimit = std::uint64_t{1} << 32;  // addresses have 32 bits
    if (config.sram_bytes == 0 || config.sram_bytes > kLimit) {
        throw UsageError("sram_bytes must be from 1 to " + std::to_string(kLimit) + ", not " +
                         std::to_string(config.sram_bytes));
    }
    if (config.accumulator_bytes > kLimit - config.sram_bytes) {
        throw UsageError("accumulator_bytes must be at most " +
                         std::to_string(kLimit - config.sram_bytes) +
                         " behind an SRAM of " + std::to_string(config.sram_bytes) + ", not " +
                         std::to_string(config.accumulator_bytes));
    }
    if (config.accumulator_bytes > 0 && config.sram_bytes % kAlignment != 0) {
        throw UsageError("sram_bytes must be a multiple of " + std::to_string(kAlignment) +
                         " if an accumulator memory follows, not " +
                         std::to_string(config.sram_bytes));
    }
    if (config.cores == 0 || config.cores > kMostCores) {
        throw UsageError("cores must be from 1 to " + std::to_string(kMostCores) + ", not " +
                         std::to_string(config.cores));
    }
    return config;
}

// Items that lie `step` bytes apart, packed.
void copy_row(const std::byte* from, std::ptrdiff_t step, std::size_t item, std::size_t count,
              std::byte* to) {
    if (step == static_cast<std::ptrdiff_t>(item)) {
        std::memcpy(to, from, count * item);
        return;
    }
    for (std::size_t j = 0; j < count; ++j) {
        std::memcpy(to + j * item, from + static_cast<std::ptrdiff_t>(j) * step, item);
    }
}

// Floats that lie `step` bytes apart, as packed bf16.
void round_row(const std::byte* from, std::ptrdiff_t step, std::size_t count, std::byte* to) {
    for (std::size_t j = 0; j < count; ++j) {
        float wide;
        std::memcpy(&wide, from + static_cast<std::ptrdiff_t>(j) * step, sizeof wide);
        const Bf16 x = narrow(wide);
        std::memcpy(to + j * sizeof x, &x, sizeof x);
    }
}

// A packed weight is given, and comes out, as the bytes of its blocks.
DType outside_type(const TensorRow& row) {
    return is_packed(row) ? DType::kUint8 : static_cast<DType>(row.dtype);
}

std::pair<std::size_t, std::size_t> outside_shape(const TensorRow& row) {
    if (!is_packed(row)) return {laid(row).rows, row.cols};
    return {static_cast<std::size_t>(stored_rows(row)), static_cast<std::size_t>(stored_row_bytes(row))};
}

MachineState machine_of(const EngineConfig& config) {
    MachineState machine = {config.sram_bytes, config.accumulator_bytes, config.cores,
                            kernel_named(config.kernel), {}, {}};
    const std::uint64_t bytes = config.sram_bytes + config.accumulator_bytes;
    for (std::uint32_t i = 0; i < config.cores; ++i) {
        machine.arenas.emplace_back(bytes);
        if (config.check_hazards) machine.sram_cells.push_back(Tracker::sram_cells(bytes));
    }
    return machine;
}

}  // namespace

const char* outside_name(DType dtype) {
    switch (dtype) {
        case DType::kFp32:
        case DType::kBf16: return "float32";
        case DType::kInt8: return "int8";
        case DType::kInt32: return "int32";
        case DType::kInt16: return "int16";
        case DType::kBool: return "bool";
        case DType::kFp16: return "float16";
        case DType::kFp8E4M3:  // their bits
        case DType::kFp8E5M2:
        case DType::kUint8: return "uint8";
    }
    return "?";
}

Engine::Engine(const EngineConfig& config)
    : config_(checked(config)),
      machine_(machine_of(config_)),
      session_(std::make_unique<Session>(machine_, Tables{}, Session::Kind::kHandBuilt)) {}

void Engine::load(Tables tables) {
    session_ = std::make_unique<Session>(machine_, std::move(tables), Session::Kind::kLoaded);
    session_->restart();
    stopped_ = false;
}

void Engine::reset() noexcept {
    if (session_->hand_built()) session_->forget_operations();
    session_->dram.poison_computed();
    session_->restart();
    stopped_ = false;
}

// -- events ---------------------------------------------------------------------------------------

void Engine::start(std::uint32_t op, std::int64_t cycle) {
    Session& x = *session_;
    x.in_flight.check_start(x.schedule, op);
    if (x.tracker) x.tracker->start(op, cycle);
    x.in_flight.start(x.schedule, op);
}

void Engine::retire(std::uint32_t op) {
    session_->in_flight.retire(session_->schedule, op);
    session_->executor.perform(op);
}

template <class Work>
void Engine::guarded(Work work) {
    require_usable();
    try {
        work();
    } catch (const std::exception& error) {
        stopped_ = true;
        failure_.clear();
        try {
            failure_ = error.what();
        } catch (const std::bad_alloc&) {  // it goes without the reason
        }
        throw;
    }
}

void Engine::replay(const std::uint32_t* events, const std::int64_t* cycles, std::size_t count) {
    guarded([&] {
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t op = events[i] / 2;
            if (op >= schedule().stream.size) {
                throw ScheduleError("event " + std::to_string(events[i]) + " is of operation " +
                                    std::to_string(op) + ", but the stream has " +
                                    std::to_string(schedule().stream.size));
            }
            interruptible(kWorkOfEvent);
            events[i] % 2 == 0 ? start(op, cycles[i]) : retire(op);
        }
    });
}

void Engine::finish(std::int64_t cycle) {
    guarded([&] {
        if (!finished()) {
            throw ScheduleError("the events ended, but " + std::to_string(session_->in_flight.retired()) +
                                " of " + std::to_string(schedule().stream.size) +
                                " operations have retired");
        }
        if (session_->tracker) session_->tracker->finish(cycle);
    });
}

void Engine::run() {
    require_usable();
    if (session_->in_flight.retired() > 0 || !session_->in_flight.empty()) {
        throw UsageError("run() needs a program that has not started: call reset() first");
    }
    guarded([&] {
        for (std::uint32_t op = 0; op < schedule().stream.size; ++op) {
            interruptible(kWorkOfEvent);
            start(op, op);
            retire(op);
        }
    });
    finish(schedule().stream.size);
}

void Engine::require_usable() const {
    if (!stopped_) return;
    throw ScheduleError("the engine stopped and needs reset(); it stopped because: " +
                        (failure_.empty() ? "there was no memory to say why" : failure_));
}

// -- tensors --------------------------------------------------------------------------------------

const TensorRow& Engine::row_of(std::uint32_t tensor) const {
    if (tensor >= schedule().tensors.size) {
        throw UsageError("tensor must be below " + std::to_string(schedule().tensors.size) +
                         ", not " + std::to_string(tensor));
    }
    return schedule().tensors[tensor];
}

void Engine::set_tensor(std::uint32_t tensor, const HostMatrix& values) {
    const TensorRow& row = row_of(tensor);
    const DType dtype = outside_type(row);
    if (values.dtype != outside_name(dtype)) {
        const char* packed = is_packed(row) ? ", which is packed" : "";
        throw UsageError(std::string("values must have dtype ") + outside_name(dtype) + " for a tensor of " +
                         dtype_name(static_cast<DType>(row.dtype)) + packed + ", not " + values.dtype);
    }
    const auto [rows, cols] = outside_shape(row);
    const bool first_rows = static_cast<Role>(row.role) == Role::kState && values.rows < rows;
    if ((values.rows != rows && !first_rows) || values.cols != cols) {
        throw UsageError("tensor " + std::to_string(tensor) + " has shape (" +
                         std::to_string(rows) + ", " + std::to_string(cols) + "), not (" +
                         std::to_string(values.rows) + ", " + std::to_string(values.cols) + ")");
    }
    if (!session_->in_flight.empty()) {
        throw UsageError("a tensor cannot be set while operations are in flight");
    }
    std::byte* to = session_->dram.data(tensor);
    for (std::size_t i = 0; i < values.rows; ++i, to += row.pitch) {
        const std::byte* from = values.data + static_cast<std::ptrdiff_t>(i) * values.row_step;
        if (dtype == DType::kBf16) {
            round_row(from, values.col_step, values.cols, to);
        } else {
            copy_row(from, values.col_step, item_size(dtype), values.cols, to);
        }
    }
    const auto supplied = is_packed(row) ? row.rows : static_cast<std::uint32_t>(values.rows);
    if (session_->tracker) session_->tracker->supplied(tensor, supplied);
}

TensorCopy Engine::tensor(std::uint32_t tensor) const {
    const TensorRow& row = row_of(tensor);
    const DType dtype = outside_type(row);
    const auto [rows, cols] = outside_shape(row);
    const std::size_t row_bytes = std::size_t{cols} * item_size(dtype);
    const std::size_t widening = dtype == DType::kBf16 ? sizeof(float) / sizeof(Bf16) : 1;
    TensorCopy copy = {dtype, rows, cols, nullptr};
    copy.data.reset(new std::byte[rows * row_bytes * widening]);
    std::byte* to = copy.data.get();
    const std::byte* from = session_->dram.buffer(tensor)->data();
    if (dtype != DType::kBf16) {
        copy_rows(to, row_bytes, from, row.pitch, rows, row_bytes);
        return copy;
    }
    for (std::size_t i = 0; i < rows; ++i, from += row.pitch) {
        for (std::size_t j = 0; j < cols; ++j, to += sizeof(float)) {
            Bf16 x;
            std::memcpy(&x, from + j * sizeof x, sizeof x);
            const float wide = widen(x);
            std::memcpy(to, &wide, sizeof wide);
        }
    }
    return copy;
}

TensorView Engine::tensor_view(std::uint32_t tensor) const {
    const TensorRow& row = row_of(tensor);
    const auto [rows, cols] = outside_shape(row);
    return {outside_type(row), rows, cols, row.pitch, session_->dram.buffer(tensor)};
}

// -- hand-built programs --------------------------------------------------------------------------

void Engine::require_hand_built() const {
    if (session_->hand_built()) return;
    throw UsageError("this engine has loaded a schedule: build operations by hand on a new one");
}

std::uint32_t Engine::add_tensor(std::uint32_t rows, std::uint32_t cols, Role role, DType dtype) {
    require_hand_built();
    return session_->add_tensor(rows, cols, role, dtype);
}

void Engine::dispatch(const SchedOp& op) {
    require_hand_built();
    require_usable();
    const std::uint32_t index = session_->append(op);
    guarded([&] {
        start(index, index);
        retire(index);
    });
}

}  // namespace minisim
