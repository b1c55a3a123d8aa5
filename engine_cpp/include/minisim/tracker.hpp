// The hazard tracker: it proves, operation by operation, that a schedule's order is safe.
//
// The rule: two accesses to overlapping memory, at least one of which writes, happen in program
// order and never overlap in time; an access lasts from its operation's start to its retirement.
// And every read finds the tile and version that its operation names.
//
// An SRAM is its core's own; the DRAM is everybody's, so there the rule orders the cores as well.
//
// The one exception: the steps of one accumulation may be in flight together, wherever the sums
// lie, and so may those that fill a stack of tiles, or load its pages. They run in one pipeline, or
// queue, in order. If the sums lie in acc, the last step only reads them; what writes to their place
// next must wait for it, also a step of the next sum.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "minisim/cells.hpp"
#include "minisim/dram.hpp"
#include "minisim/dram_grid.hpp"
#include "minisim/in_flight.hpp"
#include "minisim/schedule.hpp"

namespace minisim {

class Tracker {
public:
    // How finely DRAM is tracked: kAsTiled finds the coarsest cells that no tile of the program
    // cuts; kByItem is for programs whose tiles are not known beforehand.
    enum class Grain { kAsTiled, kByItem };

    // What is known of the SRAM and accumulator memory of one core.
    static Cells sram_cells(std::uint64_t bytes) { return {bytes, kAlignment, kQueues}; }

    // Keeps references to all of them; the DRAM must hold every tensor of the program. `srams` are
    // of every core, and outlive programs as the memories do: restart() makes them this program's.
    Tracker(const Schedule& schedule, const Dram& dram, const InFlight& in_flight,
            std::vector<Cells>& srams, std::uint64_t sram_bytes, Grain grain);

    // Checks the accesses of `op`, which is about to start, and records them.
    // Throws Hazard, after which the records are of no more use.
    void start(std::uint32_t op, std::int64_t cycle);

    // The program is done: every output must be complete in DRAM. Throws Hazard.
    void finish(std::int64_t cycle);

    // The user wrote the first `rows` rows of a tensor.
    void supplied(std::uint32_t tensor, std::uint32_t rows) noexcept;

    // Begin again: forget all accesses. Inputs and weights stay there; the rows of a state do not.
    void restart() noexcept;

    // Tensors were added to the DRAM. If it throws (std::bad_alloc), nothing changed for the others.
    void grow();

private:
    // One operation's access to one memory: what it is checked for, and what a message says of it.
    struct Access {
        std::uint32_t op;
        std::int64_t cycle;
        Content content;           // what a read, or an accumulation, expects there
        bool writes;
        bool in_sram;              // else in DRAM, where the tile is the address
        std::uint64_t sram = 0;
        bool in_place = false;     // a read of what the same operation writes
        bool accumulates = false;  // onto the step before it, which may still be in flight
    };

    void start_matmul(std::uint32_t op, std::int64_t cycle);
    void start_vector(std::uint32_t op, std::int64_t cycle);
    void goes_on(Access access);

    void read_sram(const Access& access);
    void read_dram(const Access& access);
    void write_sram(const Access& access);
    void write_dram(const Access& access);

    void check_read(const Access& access, std::int32_t writer) const;
    void write(const Access& access, Cells::Run run) const;
    bool continues(const Access& access, std::int32_t writer) const;
    bool dram_holds(std::int32_t writer, Content expected) const;
    bool in_flight(std::int32_t op) const;
    std::size_t lane_of_reader(const Access& access, std::size_t reader) const;
    Cells::Run sram_run(const Access& access);

    template <class Visit>
    void for_each_run(const TileRow& tile, Visit visit);  // visit(run of the tile's cells in DRAM)
    std::vector<DramGrid> whole_storages() const;
    bool complete(std::int32_t writer) const;

    [[noreturn]] void conflict(const Access& access, std::int32_t other, bool other_writes) const;
    [[noreturn]] void never_written(const Access& access) const;
    [[noreturn]] void wrong_content(const Access& access, std::int32_t writer) const;
    [[noreturn]] void unfinished(std::uint32_t tensor, std::uint64_t row, std::int32_t writer,
                                 std::int64_t cycle) const;
    std::string opening(const Access& access, const std::string& kind) const;

    // What a reader of a tile finds: of one in a stack the whole stack.
    Content final_of(std::uint32_t tile) const {
        const std::uint32_t held = schedule_.held(tile);
        return {held, schedule_.tiles[held].final};
    }

    const Schedule& schedule_;
    const Dram& dram_;
    const InFlight& in_flight_;
    Grain grain_;
    std::uint64_t sram_bytes_;     // where a core's accumulator memory begins
    std::vector<Cells>& srams_;    // by core, both memories; read by its core's queues

    struct Storage {
        DramGrid grid;
        Cells cells;  // read by the load queue of every core
    };
    std::vector<Storage> storages_;  // of DRAM
};

}  // namespace minisim
