#include "minisim/engine.hpp"

#include <cstring>
#include <utility>

#include "minisim/errors.hpp"
#include "minisim/narrow.hpp"

namespace minisim {
namespace {

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

std::vector<Arena> arenas_of(const EngineConfig& config) {
    std::vector<Arena> arenas;
    arenas.reserve(config.cores);
    for (std::uint32_t i = 0; i < config.cores; ++i) {
        arenas.emplace_back(config.sram_bytes + config.accumulator_bytes);
    };
    return arenas;
}

// Also through a view: a reshaped input is the user's, whatever the role of the reshape.
void refuse_store_to_supplied(const Program& program, const Dram& dram, std::size_t op) {
    if (program.opcode(op) != Opcode::kStore) return;
    const std::uint32_t tile = program.transfer(op).tile;
    if (dram.supplied(program.tiles[tile].tensor)) {
        throw ScheduleError("stream[" + std::to_string(op) + "]: STORE into " +
                            program.tile_name(tile) +
                            ", which lies in an input or a weight: those belong to the user");
    }
}

}  // namespace

Engine::Engine(const EngineConfig& config)
    : config_(checked(config)),
      kernel_(kernel_named(config.kernel)),
      arenas_(arenas_of(config)),
      in_flight_(config.cores),
      executor_(program_, arenas_, config.sram_bytes, dram_, kernel_),
      hand_built_(std::in_place) {
    begin();
}

void Engine::load(const Program& program) {
    Validator(program, config_.sram_bytes, config_.accumulator_bytes, config_.cores).all();
    Dram dram(program.tensors);
    for (std::size_t op = 0; op < program.stream.size; ++op) {
        refuse_store_to_supplied(program, dram, op);
    }
    program_ = program;
    dram_ = std::move(dram);
    hand_built_.reset();
    begin();
}

Validator Engine::validator() const {
    return {program_, config_.sram_bytes, config_.accumulator_bytes, config_.cores};
}

// Fresh records for the program and the DRAM as they are now.
void Engine::begin() {
    for (Arena& arena : arenas_) arena.poison();
    in_flight_.reset();
    executor_.restart();
    failure_.clear();
    tracker_.reset();
    if (!config_.check_hazards) return;
    const auto grain = hand_built_ ? Tracker::Grain::kByItem : Tracker::Grain::kAsTiled;
    tracker_ = std::make_unique<Tracker>(program_, dram_, in_flight_, config_.sram_bytes,
                                         config_.accumulator_bytes, config_.cores, grain);
}

void Engine::reset() {
    if (hand_built_) {
        hand_built_->forget_operations();
        program_ = hand_built_->program();
    }
    for (Arena& arena : arenas_) arena.poison();
    dram_.poison_computed();
    in_flight_.reset();
    executor_.restart();
    failure_.clear();
    if (tracker_) tracker_->restart();
}

// -- events ---------------------------------------------------------------------------------------

void Engine::start(std::uint32_t op, std::int64_t cycle) {
    in_flight_.check_start(program_, op);
    if (tracker_) tracker_->start(op, cycle);
    in_flight_.start(program_, op);
}

void Engine::retire(std::uint32_t op) {
    in_flight_.retire(program_, op);
    executor_.perform(op);
}

template <class Work>
void Engine::guarded(Work work) {
    require_usable();
    try {
        work();
    } catch (const std::exception& error) {
        failure_ = error.what();
        throw;
    }
}

void Engine::replay(const std::uint32_t* events, const std::int64_t* cycles, std::size_t count) {
    guarded([&] {
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t op = events[i] / 2;
            if (op >= program_.stream.size) {
                throw ScheduleError("event " + std::to_string(events[i]) + " is of operation " +
                                    std::to_string(op) + ", but the stream has " +
                                    std::to_string(program_.stream.size));
            }
            events[i] % 2 == 0 ? start(op, cycles[i]) : retire(op);
        }
    });
}

void Engine::finish(std::int64_t cycle) {
    guarded([&] {
        if (!finished()) {
            throw ScheduleError("the events ended, but " + std::to_string(in_flight_.retired()) +
                                " of " + std::to_string(program_.stream.size) +
                                " operations have retired");
        }
        if (tracker_) tracker_->finish(cycle);
    });
}

void Engine::run() {
    require_usable();
    if (in_flight_.retired() > 0 || !in_flight_.empty()) {
        throw UsageError("run() needs a program that has not started: call reset() first");
    }
    guarded([&] {
        for (std::uint32_t op = 0; op < program_.stream.size; ++op) {
            start(op, op);
            retire(op);
        }
    });
    finish(program_.stream.size);
}

void Engine::require_usable() const {
    if (failure_.empty()) return;
    throw ScheduleError("the engine stopped and needs reset(); it stopped because: " + failure_);
}

// -- tensors --------------------------------------------------------------------------------------

const TensorRow& Engine::tensor_row(std::uint32_t tensor) const {
    if (tensor >= program_.tensors.size) {
        throw UsageError("tensor must be below " + std::to_string(program_.tensors.size) +
                         ", not " + std::to_string(tensor));
    }
    return program_.tensors[tensor];
}

std::shared_ptr<Buffer> Engine::tensor_buffer(std::uint32_t tensor) const {
    tensor_row(tensor);
    return dram_.buffer(tensor);
}

void Engine::set_tensor(std::uint32_t tensor, const HostMatrix& values) {
    const TensorRow& row = tensor_row(tensor);
    if (values.rows != row.rows || values.cols != row.cols) {
        throw UsageError("tensor " + std::to_string(tensor) + " has shape (" +
                         std::to_string(row.rows) + ", " + std::to_string(row.cols) + "), not (" +
                         std::to_string(values.rows) + ", " + std::to_string(values.cols) + ")");
    }
    if (!in_flight_.empty()) {
        throw UsageError("a tensor cannot be set while operations are in flight");
    }
    std::byte* to = dram_.data(tensor);
    for (std::size_t i = 0; i < values.rows; ++i, to += row.pitch) {
        const std::byte* from = values.data + static_cast<std::ptrdiff_t>(i) * values.row_step;
        switch (static_cast<DType>(row.dtype)) {
            case DType::kFp32:
            case DType::kInt32: copy_row(from, values.col_step, 4, values.cols, to); break;
            case DType::kInt8: copy_row(from, values.col_step, 1, values.cols, to); break;
            case DType::kInt16: copy_row(from, values.col_step, 2, values.cols, to); break;
            case DType::kBf16: round_row(from, values.col_step, values.cols, to); break;
        }
    }
    if (tracker_) tracker_->supplied(tensor);
}

void Engine::get_tensor(std::uint32_t tensor, void* packed) const {
    const TensorRow& row = tensor_row(tensor);
    const std::size_t row_bytes = row.cols * item_size(static_cast<DType>(row.dtype));
    auto* to = static_cast<std::byte*>(packed);
    const std::byte* from = dram_.buffer(tensor)->data();
    if (static_cast<DType>(row.dtype) != DType::kBf16) {
        copy_rows(to, row_bytes, from, row.pitch, row.rows, row_bytes);
        return;
    }
    for (std::size_t i = 0; i < row.rows; ++i, from += row.pitch) {
        for (std::size_t j = 0; j < row.cols; ++j, to += sizeof(float)) {
            Bf16 x;
            std::memcpy(&x, from + j * sizeof x, sizeof x);
            const float wide = widen(x);
            std::memcpy(to, &wide, sizeof wide);
        }
    }
}

// -- hand-built programs --------------------------------------------------------------------------

void Engine::require_hand_built() const {
    if (hand_built_) return;
    throw UsageError("this engine has loaded a schedule: build operations by hand on a new one");
}

std::uint32_t Engine::add_tensor(std::uint32_t rows, std::uint32_t cols, Role role, DType dtype) {
    require_hand_built();
    hand_built_->add_tensor(rows, cols, role, dtype);
    program_ = hand_built_->program();
    const std::size_t tensor = program_.tensors.size - 1;
    try {
        validator().tensor(tensor);
        dram_.add(program_.tensors[tensor]);
    } catch (...) {
        hand_built_->drop_tensor();
        program_ = hand_built_->program();
        throw;
    }
    if (tracker_) tracker_->grow();
    return static_cast<std::uint32_t>(tensor);
}

void Engine::dispatch(const SchedOp& op) {
    require_hand_built();
    require_usable();
    const HandBuilt::Mark old = hand_built_->mark();
    hand_built_->append(op);
    program_ = hand_built_->program();
    try {
        check_new_rows(old);
    } catch (...) {
        hand_built_->rewind(old);
        program_ = hand_built_->program();
        throw;
    }
    guarded([&] {
        const auto index = static_cast<std::uint32_t>(old.stream);
        start(index, index);
        retire(index);
    });
}

void Engine::check_new_rows(const HandBuilt::Mark& old) const {
    const Validator validator = this->validator();
    for (std::size_t i = old.tiles; i < program_.tiles.size; ++i) validator.tile(i);
    for (std::size_t i = old.transfers; i < program_.transfers.size; ++i) validator.transfer(i);
    for (std::size_t i = old.matmuls; i < program_.matmuls.size; ++i) validator.matmul(i);
    for (std::size_t i = old.vectors; i < program_.vectors.size; ++i) validator.vector(i);
    for (std::size_t i = old.stream; i < program_.stream.size; ++i) {
        validator.op(i);
        refuse_store_to_supplied(program_, dram_, i);
    }
}

}  // namespace minisim
