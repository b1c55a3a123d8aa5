#include "minisim/session.hpp"

#include <string>
#include <utility>

#include "minisim/errors.hpp"

namespace minisim {
namespace {

// Also through a view: a reshaped input is the user's, whatever the role of the reshape.
void refuse_store_to_supplied(const Schedule& schedule, const Dram& dram, std::size_t op) {
    if (schedule.opcode(op) != Opcode::kStore) return;
    const std::uint32_t tile = schedule.transfer(op).tile;
    if (dram.supplied(schedule.tiles[tile].tensor)) {
        throw ScheduleError("stream[" + std::to_string(op) + "]: STORE into " +
                            schedule.tile_name(tile) +
                            ", which lies in an input or a weight: those belong to the user");
    }
}

}  // namespace

Session::Session(MachineState& machine, Tables tables, Kind kind)
    : machine_(machine),
      kind_(kind),
      tables_(std::move(tables)),
      schedule(checked()),
      dram(schedule.tensors),
      in_flight(schedule, machine.cores),
      executor(schedule, machine.arenas, machine.sram_bytes, dram, machine.kernel) {
    for (std::size_t op = 0; op < schedule.stream.size; ++op) {
        refuse_store_to_supplied(schedule, dram, op);
    }
    for (const MatmulRow& x : schedule.matmuls) executor.make_room(x);
    for (const VectorRow& x : schedule.vectors) executor.make_room(x);
    if (machine.sram_cells.empty()) return;
    const auto grain = hand_built() ? Tracker::Grain::kByItem : Tracker::Grain::kAsTiled;
    tracker.emplace(schedule, dram, in_flight, machine.sram_cells, machine.sram_bytes, grain);
}

Schedule Session::checked() const {
    const Schedule found = tables_.view();
    Validator(found, machine_.sram_bytes, machine_.accumulator_bytes, machine_.cores).all();
    return found;
}

void Session::restart() noexcept {
    for (Arena& arena : machine_.arenas) arena.poison();
    in_flight.restart();
    executor.restart();
    if (tracker) tracker->restart();
}

void Session::forget_operations() noexcept {
    HandBuilt::Mark tensors_only{};
    tensors_only.tensors = tables_.tensors.size();
    rewind(tensors_only);
    in_flight.forget();
}

void Session::rewind(const HandBuilt::Mark& old) noexcept {
    HandBuilt(tables_).rewind(old);
    schedule = tables_.view();
}

Validator Session::validator() const {
    return {schedule, machine_.sram_bytes, machine_.accumulator_bytes, machine_.cores};
}

std::uint32_t Session::add_tensor(std::uint32_t rows, std::uint32_t cols, Role role, DType dtype) {
    HandBuilt builder(tables_);
    const HandBuilt::Mark old = builder.mark();
    builder.append(rows, cols, role, dtype);
    schedule = tables_.view();
    bool added = false;
    try {
        validator().tensor(old.tensors);
        dram.add(schedule.tensors[old.tensors]);
        added = true;
        if (tracker) tracker->grow();
    } catch (...) {
        if (added) dram.drop();
        rewind(old);
        throw;
    }
    return static_cast<std::uint32_t>(old.tensors);
}

std::uint32_t Session::append(const SchedOp& op) {
    HandBuilt builder(tables_);
    const HandBuilt::Mark old = builder.mark();
    try {
        builder.append(op);
        schedule = tables_.view();
        check_new_rows(old);
        for (std::size_t i = old.matmuls; i < schedule.matmuls.size; ++i) {
            executor.make_room(schedule.matmuls[i]);
        }
        in_flight.append(schedule);
    } catch (...) {
        rewind(old);
        throw;
    }
    return static_cast<std::uint32_t>(old.stream);
}

void Session::check_new_rows(const HandBuilt::Mark& old) const {
    const Validator validator = this->validator();
    for (std::size_t i = old.tiles; i < schedule.tiles.size; ++i) validator.tile(i);
    for (std::size_t i = old.transfers; i < schedule.transfers.size; ++i) validator.transfer(i);
    for (std::size_t i = old.matmuls; i < schedule.matmuls.size; ++i) validator.matmul(i);
    for (std::size_t i = old.vectors; i < schedule.vectors.size; ++i) validator.vector(i);
    for (std::size_t i = old.stream; i < schedule.stream.size; ++i) {
        validator.op(i);
        refuse_store_to_supplied(schedule, dram, i);
    }
}

}  // namespace minisim
