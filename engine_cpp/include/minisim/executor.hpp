// The units at work: what an operation does to the memories, and how much of it was done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "minisim/arena.hpp"
#include "minisim/dram.hpp"
#include "minisim/kernels.hpp"
#include "minisim/schedule.hpp"

namespace minisim {

struct EngineStats {
    std::uint64_t loads = 0;
    std::uint64_t stores = 0;
    std::uint64_t executes = 0;
    std::uint64_t vectors = 0;
    std::uint64_t macs = 0;
    std::uint64_t dram_read_bytes = 0;
    std::uint64_t dram_write_bytes = 0;
    std::uint64_t sram_read_bytes = 0;
    std::uint64_t sram_write_bytes = 0;
    std::uint64_t accumulator_read_bytes = 0;   // of those, in the accumulator memory
    std::uint64_t accumulator_write_bytes = 0;
    std::uint64_t sram_peak_bytes = 0;  // the highest end of a range that was written
    std::uint64_t accumulator_peak_bytes = 0;  // the same, from where that memory begins
};

// All of them by name, for whoever lists them.
struct StatField {
    const char* name;
    std::uint64_t EngineStats::* member;
};
constexpr StatField kStatFields[] = {
    {"loads", &EngineStats::loads},
    {"stores", &EngineStats::stores},
    {"executes", &EngineStats::executes},
    {"vectors", &EngineStats::vectors},
    {"macs", &EngineStats::macs},
    {"dram_read_bytes", &EngineStats::dram_read_bytes},
    {"dram_write_bytes", &EngineStats::dram_write_bytes},
    {"sram_read_bytes", &EngineStats::sram_read_bytes},
    {"sram_write_bytes", &EngineStats::sram_write_bytes},
    {"accumulator_read_bytes", &EngineStats::accumulator_read_bytes},
    {"accumulator_write_bytes", &EngineStats::accumulator_write_bytes},
    {"sram_peak_bytes", &EngineStats::sram_peak_bytes},
    {"accumulator_peak_bytes", &EngineStats::accumulator_peak_bytes},
};

class Executor {
public:
    // Keeps references to all of them; the program must have been validated. There is an arena per
    // core: the scratchpad of `sram_bytes` and, behind it, the accumulator memory.
    Executor(const Schedule& schedule, std::vector<Arena>& arenas, std::uint64_t sram_bytes,
             Dram& dram, const Kernel& kernel)
        : schedule_(schedule),
          arenas_(arenas),
          sram_bytes_(sram_bytes),
          dram_(dram),
          kernel_(kernel) {}

    // For an operation that will be performed. Throws std::bad_alloc, after which nothing has changed.
    void make_room(const MatmulRow& x);
    void make_room(const VectorRow& x);

    // Asks for no memory: there is room.
    void perform(std::uint32_t op);

    const EngineStats& stats() const { return stats_; }
    void restart() noexcept { stats_ = EngineStats(); }

private:
    // One tile as a strided range of DRAM.
    struct DramTile {
        std::byte* data;
        std::size_t pitch, rows, row_bytes;
    };
    DramTile dram_tile(std::uint32_t tile);
    DramTile gathered_row(std::uint32_t op, const TransferRow& x);

    void load(std::uint32_t op, const TransferRow& x);
    void store(const TransferRow& x);
    void execute(const MatmulRow& x);
    void vector(const VectorRow& x);

    bool rounds(const MatmulRow& x) const;
    template <class Sum>
    void multiply(const MatmulRow& x);
    const std::byte* second(const MatmulRow& x);
    template <class Sum>
    void multiply_pieces(const MatmulRow& x, MatmulArgsOf<Sum> args);
    // Fills `gathered_` with rows [first, first + count) of the operand that the pieces of x make, packed, of `cols`
    // columns of `item` bytes; they hold what it held before where there is no window.
    template <class Row>
    void gather(const Row& x, std::size_t first, std::size_t count, std::size_t cols, std::size_t item);
    template <class Row>
    void count_pieces(const Row& x);
    void fold(const VectorRow& x, VectorArgs args);
    void gather_taps(const VectorRow& x, std::size_t first, std::size_t rows);
    void move(VectorArgs& args, bool fills);  // `fills`: the source is a number, not a tile
    VectorSource source(std::uint32_t tile, std::uint32_t sram);

    // A bias or a residual in the type of the sums, null if there is none.
    const float* addend(std::uint32_t tile, std::uint32_t sram, std::vector<float>& widened);
    const std::int32_t* addend(std::uint32_t tile, std::uint32_t sram, std::vector<std::int32_t>&);

    // A tile in SRAM, counted as read or written.
    std::byte* read(std::uint32_t tile, std::uint32_t sram);
    std::byte* write(std::uint32_t tile, std::uint32_t sram);

    const Schedule& schedule_;
    std::vector<Arena>& arenas_;
    std::uint64_t sram_bytes_;
    std::size_t core_ = 0;  // of the operation at work
    Dram& dram_;
    const Kernel& kernel_;
    Scratch scratch_;
    std::vector<std::byte> gathered_;  // rows of an operand that is made of pieces
    std::vector<std::byte> unpacked_;  // a tile of weights that the array unpacks

    // Of one matmul: its sums where no tile holds them, and its bias and residual if widened.
    template <class Sum>
    struct Wide {
        std::vector<Sum> sums, bias, residual;
    };
    std::tuple<Wide<float>, Wide<std::int32_t>> wide_;
    EngineStats stats_;
};

}  // namespace minisim
