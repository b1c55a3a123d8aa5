// Which operations cost the same, and whether a program's references can be followed.
#include <array>
#include <cstring>
#include <string>
#include <unordered_map>

#include "minisim/errors.hpp"
#include "minisim/sparsity.hpp"
#include "minisim/timing.hpp"

namespace minisim {
namespace {

__extension__ using Wide = unsigned __int128;  // addresses, wherever a row claims to lie
__extension__ using Signed = __int128;

// All that hwmodel/cost.py and hwmodel/energy.py read of an operation, and of its tiles.
using Key = std::array<std::uint64_t, 12>;

struct KeyHash {
    std::size_t operator()(const Key& key) const {
        std::uint64_t hash = 0x9E3779B97F4A7C15u;
        for (const std::uint64_t word : key) {
            hash = (hash ^ word) * 0xFF51AFD7ED558CCDu;
            hash ^= hash >> 32;
        }
        return static_cast<std::size_t>(hash);
    }
};

// Numbers keys in the order in which they are met.
class Numbers {
public:
    std::uint32_t of(const Key& key) {
        if (last_ != kNone && key == last_key_) return last_;
        const auto next = static_cast<std::uint32_t>(found_.size());
        last_ = found_.try_emplace(key, next).first->second;
        last_key_ = key;
        return last_;
    }
    std::size_t size() const { return found_.size(); }

private:
    std::unordered_map<Key, std::uint32_t, KeyHash> found_;
    Key last_key_{};
    std::uint32_t last_ = kNone;
};

std::uint64_t pair(std::uint64_t low, std::uint64_t high) { return low | high << 32; }

class Classifier {
public:
    Classifier(const Schedule& schedule, std::int64_t period, std::uint64_t sram_bytes)
        : schedule_(schedule),
          period_(static_cast<std::uint64_t>(period)),
          sram_bytes_(sram_bytes),
          rectangles_(schedule.tiles.size, kNone),
          bytes_(schedule.tiles.size, kUnknown) {}

    // The class of the rectangle under a tile: how it lies in DRAM, up to a multiple of the period.
    std::uint32_t rectangle(std::uint32_t tile) {
        std::uint32_t& found = rectangles_[tile];
        if (found == kNone) {
            const Rectangle at = rectangle_of(schedule_, tile);
            found = tiles_.of({static_cast<std::uint64_t>(at.address) % period_,
                               static_cast<std::uint64_t>(at.rows), static_cast<std::uint64_t>(at.row_bytes),
                               static_cast<std::uint64_t>(at.pitch), unpacked_by_dma(schedule_.tensor_of(tile))});
        }
        return found;
    }

    Key key(std::size_t op, std::uint32_t planes) {
        switch (schedule_.opcode(op)) {
            case Opcode::kLoad:
            case Opcode::kStore: {
                const TransferRow& x = schedule_.transfer(op);
                const std::uint64_t list = x.list == kNone ? 0 : 1 + in_accumulator(x.list_sram);
                return {schedule_.stream[op].opcode, rectangle(x.tile), planes != 0, in_accumulator(x.sram),
                        bytes(x.tile), elements_of(x.tile), list};
            }
            case Opcode::kExecute: return matmul(schedule_.matmul(op));
            case Opcode::kVector: return vector(schedule_.vector(op));
        }
        return {};
    }

private:
    // Whether an address on chip is one of the accumulator memory, which lies behind the scratchpad.
    std::uint64_t in_accumulator(std::uint32_t address) const { return address >= sram_bytes_; }

    // The bytes of a tile that pass a port.
    std::uint64_t bytes(std::uint32_t tile) {
        if (tile == kNone) return 0;
        if (bytes_[tile] == kUnknown) bytes_[tile] = bytes_of(tile);
        return bytes_[tile];
    }

    std::uint64_t bytes_of(std::uint32_t tile) const {
        if (!schedule_.tensors[schedule_.tiles[tile].tensor].keeps) return schedule_.tile_bytes(tile);
        const Rectangle at = rectangle_of(schedule_, tile);
        return static_cast<std::uint64_t>(at.rows * at.row_bytes);
    }

    std::uint64_t elements_of(std::uint32_t tile) const {
        return std::uint64_t{schedule_.tiles[tile].rows} * schedule_.tiles[tile].cols;
    }

    Key matmul(const MatmulRow& x) {
        const std::uint64_t flags =
            (x.step > 0) | (x.last != 0) << 1 | (x.a_transposed != 0) << 2 |
            (x.b_transposed != 0) << 3 | (x.bias != kNone) << 4 | (x.residual != kNone) << 5 |
            (x.scale != 0) << 6 | (x.acc != kNone) << 7 |
            in_accumulator(x.acc != kNone ? x.acc_sram : x.c_sram) << 8 |
            std::uint64_t{x.activation} << 16 | std::uint64_t{x.dtype} << 24;
        const std::uint64_t pitch = pitch_of_pieces(x);
        return {pair(static_cast<std::uint32_t>(Opcode::kExecute), static_cast<std::uint32_t>(flags)),
                pair(x.m, x.k),
                pair(x.n, x.taps),
                pitch,
                pair(static_cast<std::uint32_t>(kept_steps(schedule_, x.b)), item_size(schedule_.dtype_of_tile(x.c))),
                x.a_pieces == kNone ? bytes(x.a) : elements(x),
                bytes(x.b),
                bytes(x.c),
                bytes(x.acc),
                bytes(x.bias),
                bytes(x.residual),
                pair(x.a_pieces != kNone, packed_on_chip(schedule_.tensor_of(x.b)))};
    }

    // Elements from one row of A to the next where it is made of pieces: those of the first one; else 0.
    std::uint64_t pitch_of_pieces(const MatmulRow& x) const {
        if (x.a_pieces == kNone) return 0;
        const PieceRow& piece = schedule_.pieces[x.a_pieces];
        return std::uint64_t{schedule_.tiles[piece.tile].cols} * schedule_.windows[piece.window].from_inner;
    }

    Key vector(const VectorRow& x) {
        const std::uint64_t what = static_cast<std::uint64_t>(Opcode::kVector) | std::uint64_t{x.op} << 8 |
                                   std::uint64_t{x.dtype} << 16 | std::uint64_t{x.activation} << 24 |
                                   std::uint64_t{x.src2 != kNone} << 31;
        const std::uint32_t cols = x.src0 == kNone ? 0 : schedule_.tiles[x.src0].cols;
        return {pair(static_cast<std::uint32_t>(what), cols),
                pair(x.rows, x.cols),
                pair(x.taps, x.src0_pieces != kNone),
                x.src0_pieces == kNone ? bytes(x.src0) : elements(x),
                bytes(x.src1),
                bytes(x.src2),
                bytes(x.acc),
                bytes(x.dst)};
    }

    // That the address generator reads of an operand made of pieces: of each piece those of its windows.
    template <class Row>
    std::uint64_t elements(const Row& x) {
        std::uint64_t found = 0;
        schedule_.for_each_piece(x, [&](const PieceRow& piece) {
            const auto [known, is_new] = elements_.try_emplace(piece.window, 0);
            if (is_new) {
                schedule_.for_each_window(piece, [&, &sum = known->second](const WindowRow& w) {
                    sum += std::uint64_t{w.outer} * w.inner * w.cols;
                });
            }
            found += known->second;
        });
        return found;
    }

    const Schedule& schedule_;
    std::uint64_t period_, sram_bytes_;
    static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};
    std::vector<std::uint32_t> rectangles_;
    std::vector<std::uint64_t> bytes_;  // by tile
    std::unordered_map<std::uint32_t, std::uint64_t> elements_;  // of the run of windows that begins there
    Numbers tiles_;
};

[[noreturn]] void refuse(std::size_t op, const char* what) {
    throw ScheduleError("operation " + std::to_string(op) + " " + what);
}

inline void require(bool holds, std::size_t op, const char* what) {
    if (!holds) refuse(op, what);
}

}  // namespace

Classes classify(const Schedule& schedule, const std::vector<std::uint32_t>& planes,
                 std::int64_t period, std::uint64_t sram_bytes) {
    Classifier classifier(schedule, period, sram_bytes);
    std::array<Numbers, kOpcodes> numbers;
    // A class is numbered when it is met; each opcode keeps its own, and they are joined.
    std::array<std::vector<std::uint32_t>, kOpcodes> joined;
    Classes classes;
    classes.of.resize(schedule.stream.size);
    for (std::size_t op = 0; op < schedule.stream.size; ++op) {
        const std::size_t code = schedule.stream[op].opcode;
        const std::uint32_t own =
            numbers[code].of(classifier.key(op, planes.empty() ? 1 : planes[op]));
        if (own == joined[code].size()) {
            joined[code].push_back(static_cast<std::uint32_t>(classes.first.size()));
            classes.first.push_back(static_cast<std::uint32_t>(op));
        }
        classes.of[op] = joined[code][own];
    }
    return classes;
}

namespace {

// The runs of pieces that begin at `first` (NONE: there are none) and of their windows end within their tables.
void check_pieces(const Schedule& schedule, std::size_t op, std::uint32_t first) {
    if (first == kNone) return;
    const bool ends = schedule.windows.size == 0 || schedule.windows[schedule.windows.size - 1].more == 0;
    bool more = true;
    for (std::size_t i = first; more; ++i) {
        require(i < schedule.pieces.size, op, "refers beyond the pieces");
        const PieceRow& piece = schedule.pieces[i];
        require(piece.tile < schedule.tiles.size && piece.window < schedule.windows.size && ends, op,
                "has a piece of a tile or a window that does not exist");
        more = piece.more != 0;
    }
}

}  // namespace

void check_references(const Schedule& schedule, std::uint32_t cores) {
    const std::size_t sizes[kOpcodes] = {schedule.transfers.size, schedule.transfers.size,
                                         schedule.matmuls.size, schedule.vectors.size};
    const auto tile = [&](std::uint32_t id) { return id < schedule.tiles.size; };
    for (const TensorRow& row : schedule.tensors) {
        if (row.dtype >= kDTypes) throw ScheduleError("a tensor has a type that does not exist");
        if (row.keeps > row.block) throw ScheduleError("a tensor keeps more of a block than it has");
        if (row.unpacker >= kUnpackers) throw ScheduleError("a tensor has an unpacker that does not exist");
    }
    for (const TileRow& row : schedule.tiles) {
        if (row.tensor >= schedule.tensors.size) {
            throw ScheduleError("a tile refers to a tensor that does not exist");
        }
        const TensorRow& tensor = schedule.tensors[row.tensor];
        const Wide rows = Wide{row.row} + row.rows, cols = Wide{row.col} + row.cols;
        const Wide end = Wide{tensor.address} + rows * tensor.pitch +
                         cols * item_size(static_cast<DType>(tensor.dtype));
        const Signed moved = row.moved, begin = static_cast<Signed>(tensor.address) + Signed{row.row} * tensor.pitch;
        if (begin + moved < 0) throw ScheduleError("a tile must begin at or behind address 0");
        if (static_cast<Signed>(end) + moved > Signed{1} << 62) {
            throw ScheduleError("a tile must end at or below address 2^62");
        }
    }
    for (std::size_t op = 0; op < schedule.stream.size; ++op) {
        const StreamRow& row = schedule.stream[op];
        require(row.opcode < kOpcodes, op, "has an opcode that does not exist");
        require(row.queue < kQueues && row.core < cores, op,
                "is in a queue or of a core that does not exist");
        require(queue_of(static_cast<Opcode>(row.opcode)) == static_cast<Queue>(row.queue), op,
                "is in a queue of another unit");
        require(row.row < sizes[row.opcode], op, "refers beyond its operand table");
        switch (static_cast<Opcode>(row.opcode)) {
            case Opcode::kLoad:
            case Opcode::kStore: require(tile(schedule.transfer(op).tile), op, "moves no tile"); break;
            case Opcode::kExecute: {
                const MatmulRow& x = schedule.matmul(op);
                require(tile(x.c), op, "has no result");
                require(tile(x.b), op, "has no second operand");
                bool exist = true;
                for (const std::uint32_t operand : {x.a, x.bias, x.residual, x.acc}) {
                    exist = exist && (operand == kNone || tile(operand));
                }
                require(exist, op, "has an operand that does not exist");
                check_pieces(schedule, op, x.a_pieces);
                break;
            }
            case Opcode::kVector: {
                const VectorRow& x = schedule.vector(op);
                bool exist = tile(x.dst);
                for (const std::uint32_t source : {x.src0, x.src1, x.src2, x.acc}) {
                    exist = exist && (source == kNone || tile(source));
                }
                require(exist, op, "has an operand that does not exist");
                require(x.op < kVectorOps, op, "is a vector operation that does not exist");
                check_pieces(schedule, op, x.src0_pieces);
                break;
            }
        }
        for (std::size_t i = row.sync; i != kNone; ++i) {
            require(i < schedule.syncs.size, op, "refers beyond the syncs");
            const SyncRow& sync = schedule.syncs[i];
            require(sync.core < cores && sync.queue < kQueues, op,
                    "waits for a queue or core that does not exist");
            if (!sync.more) break;
        }
    }
}

}  // namespace minisim
