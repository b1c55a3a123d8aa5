#include "minisim/tracker.hpp"

#include <algorithm>

namespace minisim {
Tracker::Tracker(const Schedule& schedule, const Dram& dram, const InFlight& in_flight,
                 std::vector<Cells>& srams, std::uint64_t sram_bytes, Grain grain)
    : schedule_(schedule),
      dram_(dram),
      in_flight_(in_flight),
      grain_(grain),
      sram_bytes_(sram_bytes),
      srams_(srams) {
    grow();
}

void Tracker::grow() {
    std::vector<DramGrid> grids = whole_storages();
    for (std::uint32_t i = 0; i < schedule_.tensors.size; ++i) {
        DramGrid& grid = grids[dram_.storage_of(i)];
        const TensorRow t = laid(schedule_.tensors[i]);
        grid.cut(grid.span(t, 0, t.rows, 0, t.cols));
        if (grain_ == Grain::kByItem) grid.cut_to_items(item_size(static_cast<DType>(t.dtype)));
    }
    for (const TileRow& t : schedule_.tiles) {
        const TensorRow& tensor = schedule_.tensors[t.tensor];
        if (t.stack != 0 && tensor.page == 0) continue;  // no transfer moves it
        if (tensor.indices != 0) continue;  // it may be any row of the table, which is cut as a whole
        DramGrid& grid = grids[dram_.storage_of(t.tensor)];
        grid.cut(grid.span(tensor, t.row, t.rows, t.col, t.cols));
    }
    for (std::size_t i = storages_.size(); i < grids.size(); ++i) {
        storages_.push_back({grids[i], Cells(grids[i].cells(), 1, srams_.size())});
    }
}

// A grid for each storage, not cut yet.
std::vector<DramGrid> Tracker::whole_storages() const {
    constexpr std::uint32_t kNoTensor = kNone;
    std::vector<std::uint32_t> first(dram_.storages(), kNoTensor);
    std::vector<DramGrid> grids(dram_.storages());
    for (std::uint32_t i = 0; i < schedule_.tensors.size; ++i) {
        const std::uint32_t storage = dram_.storage_of(i);
        if (first[storage] == kNoTensor) first[storage] = i;
        const TensorRow t = laid(schedule_.tensors[i]), other = laid(schedule_.tensors[first[storage]]);
        const bool alike = t.rows == other.rows && t.cols == other.cols;
        if (first[storage] == i) {
            grids[storage] = {t.rows, t.cols * item_size(static_cast<DType>(t.dtype))};
        } else if (!alike) {
            grids[storage] = {1, dram_.storage_bytes(storage)};
        }
    }
    return grids;
}

void Tracker::restart() noexcept {
    for (Cells& sram : srams_) sram.forget();
    for (std::uint32_t i = 0; i < schedule_.tensors.size; ++i) {
        Cells& cells = storages_[dram_.storage_of(i)].cells;
        dram_.supplied(i) ? cells.forget_readers() : cells.forget();
    }
}

void Tracker::supplied(std::uint32_t tensor, std::uint32_t rows) noexcept {
    const TensorRow& t = schedule_.tensors[tensor];
    if (rows == 0) return;
    for_each_run({tensor, 0, 0, rows, t.cols, 0}, [](Cells::Run run) {
        for (const Cells::Block block : run) {
            for (std::size_t i = 0; i < run.readers(); ++i) block.reader(i) = kNobody;
            block.writer() = kUser;
        }
    });
}

void Tracker::finish(std::int64_t cycle) {
    for (std::uint32_t i = 0; i < schedule_.tensors.size; ++i) {
        const TensorRow& t = schedule_.tensors[i];
        if (static_cast<Role>(t.role) != Role::kOutput) continue;
        for (std::uint32_t row = 0; row < t.rows; ++row) {
            for_each_run({i, row, 0, 1, t.cols, 0}, [&](Cells::Run run) {
                for (const Cells::Block block : run) {
                    if (!complete(block.writer())) unfinished(i, row, block.writer(), cycle);
                }
            });
        }
    }
}

// Whether what `writer` left in DRAM is a tile's final content.
bool Tracker::complete(std::int32_t writer) const {
    if (writer < 0) return writer == kUser;
    return schedule_.is_final(schedule_.result(static_cast<std::size_t>(writer)));
}

void Tracker::start(std::uint32_t op, std::int64_t cycle) {
    switch (schedule_.opcode(op)) {
        case Opcode::kLoad: {
            const TransferRow& x = schedule_.transfer(op);
            const std::uint32_t part = schedule_.tiles[x.tile].part;
            read_dram({op, cycle, {x.tile, x.version}, false, false});
            if (x.list != kNone) read_sram({op, cycle, final_of(x.list), false, true, x.list_sram});
            if (schedule_.tiles[x.tile].stack == 0) {
                write_sram({op, cycle, {x.tile, x.version}, true, true, x.sram});
                return;
            }
            const Content before = {schedule_.held(x.tile), part == 0 ? 0 : kSomePages | part};
            goes_on({op, cycle, before, true, true, x.sram - schedule_.offset(x.tile)});
            return;
        }
        case Opcode::kStore: {
            const TransferRow& x = schedule_.transfer(op);
            const std::uint64_t at = x.sram - schedule_.offset(x.tile);
            read_sram({op, cycle, {schedule_.held(x.tile), x.version}, false, true, at});
            write_dram({op, cycle, {x.tile, x.version}, true, false});
            return;
        }
        case Opcode::kExecute: start_matmul(op, cycle); return;
        case Opcode::kVector: start_vector(op, cycle); return;
    }
}

// A write of the next version of what is there, from the first one on.
void Tracker::goes_on(Access access) {
    access.accumulates = access.content.version > 0;
    if (access.accumulates) {
        Access before = access;
        before.writes = false;
        before.in_place = true;
        read_sram(before);
    }
    write_sram(access);
}

void Tracker::start_matmul(std::uint32_t op, std::int64_t cycle) {
    const MatmulRow& x = schedule_.matmul(op);
    const auto source = [&](std::uint32_t tile, std::uint32_t sram) {
        if (tile == kNone) return;
        read_sram({op, cycle, final_of(tile), false, true, sram - schedule_.offset(tile)});
    };
    source(x.a, x.a_sram);
    schedule_.for_each_piece(x, [&](const PieceRow& piece) { source(piece.tile, piece.sram); });
    source(x.b, x.b_sram);
    source(x.bias, x.bias_sram);
    source(x.residual, x.residual_sram);
    const bool through = x.acc != kNone;
    if (!Schedule::touches_c(x)) return goes_on({op, cycle, {x.acc, x.step}, true, true, x.acc_sram});
    if (through && x.step > 0) read_sram({op, cycle, {x.acc, x.step}, false, true, x.acc_sram, false, true});
    const std::uint32_t before = schedule_.made_before(x.c) + (through ? 0 : x.step);
    goes_on({op, cycle, {schedule_.held(x.c), before}, true, true, x.c_sram - schedule_.offset(x.c)});
}

void Tracker::start_vector(std::uint32_t op, std::int64_t cycle) {
    const VectorRow& x = schedule_.vector(op);
    const auto source = [&](std::uint32_t tile, std::uint32_t sram) {
        const bool in_place = sram == x.dst_sram;
        if (tile != kNone) read_sram({op, cycle, final_of(tile), false, true, sram, in_place});
    };
    for (const VectorRow::Source& each : x.sources()) source(each.tile, each.sram);
    schedule_.for_each_piece(x, [&](const PieceRow& piece) { source(piece.tile, piece.sram); });
    source(x.acc, x.acc_sram);
    write_sram({op, cycle, {x.dst, 1}, true, true, x.dst_sram});
}

// -- reads ----------------------------------------------------------------------------------------

// One operation writes a tile as a whole, so it must be the last writer of all of it. If another
// wrote a part, the tile is not there, even if both wrote the same content (at addresses
// that are a little apart, say).
void Tracker::read_sram(const Access& access) {
    const Cells::Run run = sram_run(access);
    const std::int32_t writer = (*run.begin()).writer();
    check_read(access, writer);
    if (schedule_.result(static_cast<std::size_t>(writer)) != access.content) {
        wrong_content(access, writer);
    }
    const auto queue = static_cast<std::size_t>(schedule_.queue(access.op));
    for (const Cells::Block block : run) {
        if (block.writer() != writer) {
            check_read(access, block.writer());
            wrong_content(access, block.writer());
        }
        // The write that follows a read in place is record enough. As a reader, too, an operation
        // would hide an older one of its queue from that write, and, if it accumulates, stand in
        // the way of its own next step.
        if (!access.in_place) block.reader(queue) = static_cast<std::int32_t>(access.op);
    }
}

// In DRAM a tile may be the work of several operations: layers cut a tensor as they like.
void Tracker::read_dram(const Access& access) {
    const std::size_t core = schedule_.stream[access.op].core;
    std::int32_t checked = kNobody;  // the last writer that was found in order
    for_each_run(schedule_.tiles[access.content.tile], [&](Cells::Run run) {
        for (const Cells::Block block : run) {
            const std::int32_t writer = block.writer();
            if (writer != checked || writer == kNobody) {
                check_read(access, writer);
                if (!dram_holds(writer, access.content)) wrong_content(access, writer);
                checked = writer;
            }
            block.reader(core) = static_cast<std::int32_t>(access.op);
        }
    });
}

// Order and time: the writer comes before the reader in the program, and it is done.
void Tracker::check_read(const Access& access, std::int32_t writer) const {
    if (writer == kNobody) never_written(access);
    if (writer > static_cast<std::int32_t>(access.op)) conflict(access, writer, true);
    if (in_flight(writer) && !continues(access, writer)) conflict(access, writer, true);
}

// A complete tile may be read in other pieces than it was written in, and through another view;
// a partial sum is only good to the tile that it belongs to.
bool Tracker::dram_holds(std::int32_t writer, Content expected) const {
    const bool complete = schedule_.is_final(expected);
    if (writer == kUser) return complete;
    const Content written = schedule_.result(static_cast<std::size_t>(writer));
    return complete ? schedule_.is_final(written) : written == expected;
}

// -- writes ---------------------------------------------------------------------------------------

void Tracker::write_sram(const Access& access) { write(access, sram_run(access)); }

void Tracker::write_dram(const Access& access) {
    for_each_run(schedule_.tiles[access.content.tile], [&](Cells::Run run) { write(access, run); });
}

void Tracker::write(const Access& access, Cells::Run run) const {
    const auto op = static_cast<std::int32_t>(access.op);
    for (const Cells::Block block : run) {
        const std::int32_t writer = block.writer();
        const bool waits = in_flight(writer) && !continues(access, writer);
        if (writer > op || waits) conflict(access, writer, true);
        for (std::size_t i = 0; i < run.readers(); ++i) {
            const std::int32_t reader = block.reader(i);
            const bool reads = in_flight_.contains(reader, lane_of_reader(access, i));
            if (reader > op || reads) conflict(access, reader, false);
        }
    }
    run.written_by(op);
}

// -- both -----------------------------------------------------------------------------------------

// The exception to the rule: `writer` is the step of the same accumulation just before this one, or the page before.
bool Tracker::continues(const Access& access, std::int32_t writer) const {
    if (!access.accumulates || writer < 0) return false;
    const auto op = static_cast<std::size_t>(writer);
    const bool in_order = schedule_.opcode(op) == Opcode::kExecute || (access.content.version & kSomePages) != 0;
    return in_order && schedule_.result(op) == access.content;
}

bool Tracker::in_flight(std::int32_t op) const {
    return op >= 0 && in_flight_.contains(op, schedule_.lane(static_cast<std::size_t>(op)));
}

// The queue behind a cell's i-th reader: of the SRAM's own core, or the i-th core's load queue.
std::size_t Tracker::lane_of_reader(const Access& access, std::size_t reader) const {
    if (!access.in_sram) return reader * kQueues + static_cast<std::size_t>(Queue::kLoad);
    return std::size_t{schedule_.stream[access.op].core} * kQueues + reader;
}

Cells::Run Tracker::sram_run(const Access& access) {
    Cells& sram = srams_[schedule_.stream[access.op].core];
    return sram.run(access.sram, access.sram + schedule_.tile_bytes(access.content.tile));
}

template <class Visit>
void Tracker::for_each_run(const TileRow& tile, Visit visit) {
    Storage& storage = storages_[dram_.storage_of(tile.tensor)];
    const DramGrid& grid = storage.grid;
    const TensorRow tensor = laid(schedule_.tensors[tile.tensor]);
    const bool anywhere = tensor.indices != 0;  // gathered rows: whichever they are, the whole table counts as read
    const DramSpan span = anywhere ? grid.span(tensor, 0, tensor.rows, 0, tensor.cols)
                                   : grid.span(tensor, tile.row, tile.rows, tile.col, tile.cols);
    grid.for_each_run(span, [&](std::uint64_t begin, std::uint64_t end) {
        visit(storage.cells.run(begin, end));
    });
}

}  // namespace minisim
