// One program at work: its tables, and all that is made for it alone.
//
// A session is made whole or not at all, and an engine goes from one to the next by exchanging a
// pointer: no failure can leave it with parts of two programs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "minisim/arena.hpp"
#include "minisim/cells.hpp"
#include "minisim/dram.hpp"
#include "minisim/executor.hpp"
#include "minisim/hand_built.hpp"
#include "minisim/in_flight.hpp"
#include "minisim/kernels.hpp"
#include "minisim/tables.hpp"
#include "minisim/tracker.hpp"
#include "minisim/validate.hpp"

namespace minisim {

// The machine around a program: it stays when the program goes.
struct MachineState {
    std::uint64_t sram_bytes, accumulator_bytes;
    std::uint32_t cores;
    const Kernel& kernel;
    std::vector<Arena> arenas;      // by core: its SRAM and, behind it, its accumulator memory
    std::vector<Cells> sram_cells;  // by core; none if hazards are not checked
};

class Session {
public:
    enum class Kind { kLoaded, kHandBuilt };

    // Checks the tables, and makes what the program needs, DRAM included: from then on performing it
    // asks for no memory. Throws ScheduleError or std::bad_alloc. Keeps a reference to the machine,
    // but does not touch its memories before restart().
    Session(MachineState& machine, Tables tables, Kind kind);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    bool hand_built() const { return kind_ == Kind::kHandBuilt; }

    // Nothing has started, and the machine's memories are poisoned. The DRAM stays as it is.
    void restart() noexcept;

    // Of a hand-built program only the tensors remain.
    void forget_operations() noexcept;

    // Hand-built programs grow, by a tensor (returns its index) or an operation (its position). If
    // one of these throws, nothing changed.
    std::uint32_t add_tensor(std::uint32_t rows, std::uint32_t cols, Role role, DType dtype);
    std::uint32_t append(const SchedOp& op);

private:
    Schedule checked() const;
    Validator validator() const;
    void check_new_rows(const HandBuilt::Mark& old) const;
    void rewind(const HandBuilt::Mark& old) noexcept;

    MachineState& machine_;
    Kind kind_;
    Tables tables_;

public:
    Schedule schedule;  // a view of the tables
    Dram dram;
    InFlight in_flight;
    Executor executor;
    std::optional<Tracker> tracker;  // none if hazards are not checked
};

}  // namespace minisim
