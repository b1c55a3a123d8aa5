// The memory that all transfers share: the twin of hwmodel/{dram,banked,l2,noc,memory}.py, which
// define it. What a machine has of it is put together by `make_memory`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "minisim/burst_port.hpp"
#include "minisim/dram_memory.hpp"
#include "minisim/schedule.hpp"

namespace minisim {

enum class Gate : std::uint8_t;

// The numbers that a memory needs of its machine, by the names of hwmodel/native.py's TimingMachine:
//
//   dram_cycles, core_cycles      of a banked DRAM's clock and the core's, that take as long
//   bytes, cycles                 of an ideal DRAM's bandwidth: so many bytes in so many cycles
//   read_latency, write_latency   cycles, of the DRAM
//   l2_*                          sets (none: no L2), ways, line and port in bytes, latency in cycles
//   noc_*                         bytes a cycle of the network and of a core's link; 0: never binds
#define MINISIM_MEMORY_NUMBERS(NUMBER)                                                             \
    NUMBER(dram_cycles, 1)                                                                         \
    NUMBER(core_cycles, 1)                                                                         \
    NUMBER(bytes, 1)                                                                               \
    NUMBER(cycles, 1)                                                                              \
    NUMBER(read_latency, 0)                                                                        \
    NUMBER(write_latency, 0)                                                                       \
    NUMBER(l2_sets, 0)                                                                             \
    NUMBER(l2_ways, 1)                                                                             \
    NUMBER(l2_line, 64)                                                                            \
    NUMBER(l2_width, 64)                                                                           \
    NUMBER(l2_latency, 0)                                                                          \
    NUMBER(noc_rate, 0)                                                                            \
    NUMBER(noc_core_rate, 0)

struct MemoryMachine {
    std::optional<DramPart> part;  // of a banked DRAM
#define MINISIM_DECLARE_NUMBER(name, usual) std::int64_t name = usual;
    MINISIM_MEMORY_NUMBERS(MINISIM_DECLARE_NUMBER)
#undef MINISIM_DECLARE_NUMBER

    // Whether answers differ in more than begin and end.
    bool answers() const {
        return l2_sets > 0 || noc_rate > 0 || noc_core_rate > 0 || (part && part->channels > 1);
    }
};

struct Answer {
    Cycle begin, end;
    Cycle latency;
    std::int64_t read, written;  // bytes of the DRAM
    std::uint32_t behind;        // kNone: nobody
    Gate waited, by;             // of BEGIN, which `behind` held, and of SERVED
    Cycle contention, crossing;
};

// A transfer that asks. `dram`: cycles of an ideal DRAM for it.
struct Asked {
    std::uint32_t op, lane, core;
    bool write;
    Rectangle at;
    Cycle dram;
    std::int64_t size() const { return at.row_bytes * at.rows; }
};

using Counters = std::map<std::string, std::int64_t>;

// Serves transfers in order of arrival; `now` never lies before that of an earlier call.
class Memory {
public:
    virtual ~Memory() = default;
    virtual Answer serve(const Asked& asked, Cycle now) = 0;
    virtual void count(Counters& counters) const = 0;
};

// The part behind which there is none.
class DramModel : public Memory {
public:
    // A cache reads `reads` lines of `size` bytes, then writes the others, on behalf of a transfer.
    virtual Answer lines(const Asked& asked, const std::vector<std::int64_t>& addresses,
                         std::size_t reads, std::int64_t size, Cycle now) = 0;
};

std::unique_ptr<DramModel> make_dram(const MemoryMachine& machine, std::uint32_t lanes);
std::unique_ptr<Memory> make_l2(const MemoryMachine& machine, std::unique_ptr<DramModel> dram);
std::unique_ptr<Memory> make_noc(const MemoryMachine& machine, std::unique_ptr<Memory> memory,
                                 std::uint32_t cores);
std::unique_ptr<Memory> make_memory(const MemoryMachine& machine, std::uint32_t cores);

}  // namespace minisim
