#include "minisim/walk.hpp"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "minisim/candidates.hpp"
#include "minisim/errors.hpp"
#include "minisim/interrupt.hpp"
#include "minisim/places.hpp"

namespace minisim {
namespace {

constexpr std::uint64_t kWork = 512;  // of a uOp, in multiply-adds
constexpr std::uint64_t kSmall = 4;  // a tile is small if the largest of the program's places is so many times as large
enum Home : std::uint8_t { kScratchpad = 0, kAccumulator = 1 };

std::size_t index(Queue queue) { return static_cast<std::size_t>(queue); }

// What is known of a tile in the SRAM of one core.
struct Copy {
    std::uint64_t bytes = 0;  // of the place that it takes
    std::uint32_t tile = 0;
    std::uint32_t address = kNone;  // kNone: not in SRAM
    std::uint32_t next_use = kNotAgain;
    Clock touched{};  // counts of the last accesses, by queue, while it is in SRAM
    std::uint32_t writer_count = 0;
    std::uint8_t writer = 0;  // the queue of the operation that wrote it
    Home home = kScratchpad;
    bool small = false, may_stay = false;
    bool dirty = false;    // the content is nowhere but in SRAM
    bool operand = false;  // of the operation to come: it must not be evicted
};

struct Sync {
    std::uint32_t core = 0, count = 0;  // of stores that must have retired
};

// The content of a tile in DRAM.
struct Known {
    std::uint32_t version = 0;  // the newest there is, wherever
    Sync stored;                // the store that last wrote it
};

// What a core has on chip: its memories, and for each which copies may be evicted; and how far its queues are.
struct Core {
    Core(const WalkMachine& machine, Candidates::At& at)
        : memories{Places(machine.sram_bytes), Places(machine.accumulator_bytes, machine.sram_bytes)},
          candidates{Candidates(at), Candidates(at)} {}

    Places memories[2];
    Candidates candidates[2];
    std::uint64_t slot = 0;  // bytes of a place in its accumulator memory
    std::uint32_t now = 0;   // place of the uOp among those of this core
    Clock counts{};          // operations of each queue so far
    std::vector<std::uint32_t> synced;  // by core: stores of it that loads of this one have waited for
};

class Walk {
public:
    Walk(const UopProgram& program, const WalkMachine& machine, const Operands& placed);
    Walked run();

private:
    void layer_begins(std::uint32_t layer);
    void layer_ends();
    void step(const UopRow& uop, std::uint32_t next_use);

    void need(std::uint32_t copy, std::uint32_t next_use);
    void hold(std::uint32_t copy, std::uint32_t next_use);
    void execute(std::uint32_t row, std::uint32_t next_use);
    void vector(std::uint32_t row, std::uint32_t next_use);
    void finish(std::uint32_t copy, std::uint32_t next_use);
    void make_room_ahead();

    void load(std::uint32_t copy);
    Grown<SyncRow>& after_stores(std::uint32_t tile, Clock& wait);
    void store(std::uint32_t copy);
    void place_target(std::uint32_t copy, std::uint32_t step, Clock& wait);
    Clock place(std::uint32_t copy);
    bool evict(Home home, std::int64_t beyond);
    void clear(Home home);
    void free(std::uint32_t copy);

    void wait_for_writer(std::uint32_t copy, Clock& wait) const;
    void wrote(std::uint32_t copy, std::uint32_t version, Queue queue, std::uint32_t count);
    void release_operands(Queue queue, std::uint32_t count);
    void used(std::uint32_t copy, std::uint32_t next_use);

    std::uint32_t emit(Opcode opcode, std::uint32_t row, const Clock& wait, std::uint32_t sync = kNone);
    void address_pieces(std::uint32_t first);
    std::uint32_t copy_of(std::uint32_t tile) const { return copies_.of(core_number_, tile); }
    std::uint32_t address_of(std::uint32_t tile) const {
        return tile == kNone ? kNone : copy_[copy_of(program_.held(tile))].address + program_.offset(tile);
    }

    void prepare_copies();
    void prepare_pages();
    std::uint32_t move(Opcode opcode, std::uint32_t copy, const Clock& wait, std::uint32_t sync = kNone,
                       std::uint32_t list = kNone);
    std::uint32_t list_of(std::uint32_t tile) const;
    std::vector<bool> crossing() const;

    const UopProgram& program_;
    const WalkMachine machine_;
    const Operands placed_;
    const Copies copies_;
    Candidates::At at_;
    std::vector<Copy> copy_;
    std::vector<Known> tile_;
    std::vector<std::vector<std::uint32_t>> pages_;  // tiles of stacks that are moved one by one, from the first to the last
    std::vector<std::uint32_t> paged_;               // by tile: 0, or the number of those in `pages_`, from 1
    std::vector<std::vector<Sync>> storage_stored_;  // by buffer: the last store of each core that stored to it
    std::deque<Core> cores_;                         // they do not move
    Core* core_;
    std::uint32_t core_number_ = 0, layer_ = 0;
    std::uint64_t peak_ = 0;
    std::int64_t eliminated_ = 0;
    std::vector<std::uint32_t> operands_;  // of the uOp to come, each once
    Grown<SyncRow> syncing_;               // of the load to come
    Walked out_;
};

Walk::Walk(const UopProgram& program, const WalkMachine& machine, const Operands& placed)
    : program_(program),
      machine_(machine),
      placed_(placed),
      copies_(program),
      at_(copies_.size(), kNone),
      copy_(copies_.size()),
      tile_(program.tiles.size),
      storage_stored_(program.tensors.size) {
    for (std::uint32_t core = 0; core < program.cores; ++core) {
        cores_.emplace_back(machine, at_);
        cores_.back().synced.resize(program.cores);
    }
    core_ = &cores_.front();
    out_.peak.resize(program.layers);
    out_.eliminated.resize(program.layers);
    prepare_copies();
    prepare_pages();
}

void Walk::prepare_pages() {
    for (std::uint32_t tile = 0; tile < program_.tiles.size; ++tile) {
        if (!program_.is_of_page(tile)) continue;
        paged_.resize(program_.tiles.size);
        std::uint32_t& number = paged_[program_.held(tile)];
        if (number == 0) {
            pages_.emplace_back();
            number = static_cast<std::uint32_t>(pages_.size());
        }
        pages_[number - 1].push_back(tile);
    }
}

void Walk::prepare_copies() {
    const std::vector<std::int64_t> places = program_.place_sizes();
    const std::uint64_t most =
        places.empty() ? 0 : static_cast<std::uint64_t>(*std::max_element(places.begin(), places.end()));
    const std::vector<bool> crosses = crossing();
    std::uint32_t i = 0;
    copies_.for_each([&](std::uint32_t, std::uint32_t tile) {
        const std::uint32_t tensor = program_.tiles[tile].tensor;
        Copy& copy = copy_[i++];
        copy.tile = tile;
        copy.bytes = static_cast<std::uint64_t>(places[tile]);
        copy.small = kSmall * copy.bytes <= most;
        copy.home = program_.sums[tensor] && machine_.accumulator_bytes > 0 ? kAccumulator : kScratchpad;
        copy.may_stay = program_.resident_ok[tensor] && !crosses[tile] && machine_.keep_on_chip;
    });
}

// Whether each tile is used by a core that did not write it: then the one that did must store it.
std::vector<bool> Walk::crossing() const {
    std::vector<bool> found(program_.tiles.size);
    if (program_.cores == 1) return found;
    std::vector<std::uint32_t> writer(program_.tiles.size, kNone);
    for (const UopRow& uop : program_.uops) {
        if (uop.opcode == static_cast<std::uint8_t>(Opcode::kStore)) writer[uop.ref] = uop.core;
    }
    for (const UopRow& uop : program_.uops) {
        if (uop.opcode != static_cast<std::uint8_t>(Opcode::kLoad)) continue;
        if (writer[uop.ref] != kNone && writer[uop.ref] != uop.core) found[uop.ref] = true;
    }
    return found;
}

Walked Walk::run() {
    const std::vector<std::uint32_t> following = next_uses(program_, copies_);
    for (std::size_t i = 0; i < program_.uops.size; ++i) {
        const UopRow& uop = program_.uops[i];
        if (i == 0 || uop.layer != layer_) {
            if (i > 0) layer_ends();
            layer_begins(uop.layer);
        }
        core_number_ = uop.core;
        core_ = &cores_[uop.core];
        step(uop, following[i]);
        ++core_->now;
        interruptible(kWork);
    }
    if (program_.uops.size > 0) layer_ends();
    for (const Core& core : cores_) out_.live += core.memories[0].used_bytes() + core.memories[1].used_bytes();
    out_.stream.shrink();
    out_.transfers.shrink();
    return std::move(out_);
}

// A stretch of uOps of one layer; in a slice a layer has several.
void Walk::layer_begins(std::uint32_t layer) {
    layer_ = layer;
    peak_ = 0;
    eliminated_ = 0;
    for (const Core& core : cores_) peak_ = std::max(peak_, core.memories[kScratchpad].used_bytes());
}

void Walk::layer_ends() {
    out_.peak[layer_] = std::max(out_.peak[layer_], static_cast<std::int64_t>(peak_));
    out_.eliminated[layer_] += eliminated_;
}

void Walk::step(const UopRow& uop, std::uint32_t next_use) {
    switch (static_cast<Opcode>(uop.opcode)) {
        case Opcode::kLoad: need(copy_of(uop.ref), next_use); break;
        case Opcode::kStore: finish(copy_of(uop.ref), next_use); break;
        case Opcode::kExecute: execute(uop.ref, next_use); break;
        case Opcode::kVector: vector(uop.ref, next_use); break;
    }
}

// -- uOps -----------------------------------------------------------------------------------------

// Bring in an operand of the operation to come.
void Walk::need(std::uint32_t copy, std::uint32_t next_use) {
    if (copy_[copy].address != kNone) ++eliminated_;
    hold(copy, next_use);
}

void Walk::hold(std::uint32_t copy, std::uint32_t next_use) {
    Copy& x = copy_[copy];
    if (x.address == kNone) load(copy);
    core_->candidates[x.home].remove(copy);
    x.next_use = next_use;
    if (!x.operand) operands_.push_back(copy);
    x.operand = true;
}

void Walk::execute(std::uint32_t row, std::uint32_t next_use) {
    const MatmulRow& x = program_.matmuls[row];
    const bool sums_are_read = x.acc != kNone && x.last && x.step > 0;
    const std::uint32_t target = copy_of(program_.written(x));
    const std::uint32_t sums = sums_are_read ? copy_of(x.acc) : kNone;
    const std::uint32_t before = Schedule::touches_c(x) ? made_before(program_.tiles, x.c) : 0;
    const std::uint32_t version = before + (x.acc != kNone && x.last ? 1 : x.step + 1);
    Clock wait{};
    if (sums_are_read) hold(sums, kNotAgain);
    place_target(target, version - 1, wait);
    for (const std::uint32_t copy : operands_) {
        const bool accumulates = copy == sums && copy_[copy].writer == index(Queue::kMatrix);  // in order by itself
        if (!accumulates) wait_for_writer(copy, wait);
    }
    MatmulRow& placed = placed_.matmuls[row];
    placed.a_sram = address_of(x.a);
    placed.b_sram = address_of(x.b);
    placed.c_sram = Schedule::touches_c(x) ? address_of(x.c) : kNone;
    placed.bias_sram = address_of(x.bias);
    placed.residual_sram = address_of(x.residual);
    placed.acc_sram = Schedule::touches_acc(x) ? address_of(x.acc) : kNone;
    address_pieces(x.a_pieces);
    const std::uint32_t count = emit(Opcode::kExecute, row, wait);
    wrote(target, version, Queue::kMatrix, count);
    release_operands(Queue::kMatrix, count);
    used(target, next_use);
    make_room_ahead();
}

void Walk::vector(std::uint32_t row, std::uint32_t next_use) {
    const VectorRow& x = program_.vectors[row];
    const std::uint32_t target = copy_of(x.dst);
    Clock wait{};
    place_target(target, 0, wait);
    for (const std::uint32_t copy : operands_) wait_for_writer(copy, wait);
    VectorRow& placed = placed_.vectors[row];
    placed.src0_sram = address_of(x.src0);
    placed.src1_sram = address_of(x.src1);
    placed.src2_sram = address_of(x.src2);
    placed.acc_sram = address_of(x.acc);
    placed.dst_sram = address_of(x.dst);
    address_pieces(x.src0_pieces);
    const std::uint32_t count = emit(Opcode::kVector, row, wait);
    wrote(target, 1, Queue::kVector, count);
    release_operands(Queue::kVector, count);
    used(target, next_use);
    make_room_ahead();
}

// A complete tile: store it, or keep it for its consumers (it is stored if it must make room).
void Walk::finish(std::uint32_t copy, std::uint32_t next_use) {
    if (copy_[copy].address == kNone) {
        throw ScheduleError("a uOp stores tile " + std::to_string(copy_[copy].tile) + ", which is not in SRAM");
    }
    if (!copy_[copy].may_stay) store(copy);
    used(copy, machine_.keep_on_chip ? next_use : kNotAgain);
}

// Evict what is not used soon, so that loads can run ahead of need.
void Walk::make_room_ahead() {
    const std::size_t at = std::size_t{layer_} * program_.cores + core_number_;
    const std::int64_t ahead = program_.ahead[at];
    const std::int64_t beyond = std::int64_t{core_->now} + program_.horizon[at];
    while (static_cast<std::int64_t>(core_->memories[kScratchpad].free_bytes()) < ahead) {
        if (!evict(kScratchpad, beyond)) break;
    }
}

// -- moving tiles ---------------------------------------------------------------------------------

void Walk::load(std::uint32_t copy) {
    Clock wait = place(copy);
    Copy& x = copy_[copy];
    const std::uint32_t list = list_of(x.tile);
    if (list != kNone) wait_for_writer(list, wait);
    const Grown<SyncRow>& syncs = after_stores(x.tile, wait);
    const auto first = static_cast<std::uint32_t>(out_.syncs.size());
    out_.syncs.append(syncs.begin(), syncs.size());
    const std::uint32_t count = move(Opcode::kLoad, copy, wait, syncs.size() > 0 ? first : kNone, list);
    if (list != kNone) copy_[list].touched[index(Queue::kLoad)] = count;
    x.writer = static_cast<std::uint8_t>(Queue::kLoad);
    x.writer_count = count;
    x.touched[index(Queue::kLoad)] = count;
}

// Waits for the stores that the content of `tile` in DRAM is the work of; those of other cores are returned. Loads
// start in order, so one that an earlier load of this core has waited for need not be named again.
Grown<SyncRow>& Walk::after_stores(std::uint32_t tile, Clock& wait) {
    syncing_.clear();
    const auto after = [&](const Sync& store) {
        std::uint32_t& own = wait[index(Queue::kStore)];
        std::uint32_t& synced = core_->synced[store.core];
        if (store.core == core_number_) {
            own = std::max(own, store.count);
        } else if (synced < store.count) {
            synced = store.count;
            if (syncing_.size() > 0) syncing_[syncing_.size() - 1].more = 1;
            const auto queue = static_cast<std::uint8_t>(Queue::kStore);
            syncing_.push_back({static_cast<std::uint16_t>(store.core), queue, 0, store.count});
        }
    };
    after(tile_[tile].stored);
    const TileRow& x = program_.tiles[tile];
    if (x.final == 0 && tile_[tile].version == 0) {  // another view of what producers stored
        for (const Sync& store : storage_stored_[program_.tensors[x.tensor].storage]) after(store);
    }
    return syncing_;
}

void Walk::store(std::uint32_t copy) {
    Clock wait{};
    wait_for_writer(copy, wait);
    Copy& x = copy_[copy];
    const std::uint32_t count = move(Opcode::kStore, copy, wait);
    x.touched[index(Queue::kStore)] = count;
    x.dirty = false;
    tile_[x.tile].stored = {core_number_, count};
    auto& stores = storage_stored_[program_.tensors[program_.tiles[x.tile].tensor].storage];
    for (Sync& last : stores) {
        if (last.core == core_number_) {
            last.count = count;
            return;
        }
    }
    stores.push_back({core_number_, count});
}

// Of a tile of gathered rows the copy of their indices: an operand of the same operation, loaded before. Else kNone.
std::uint32_t Walk::list_of(std::uint32_t tile) const {
    const TileRow& x = program_.tiles[tile];
    const std::uint32_t back = program_.tensors[x.tensor].indices;
    if (back == 0) return kNone;
    for (const std::uint32_t copy : operands_) {
        const TileRow& list = program_.tiles[copy_[copy].tile];
        if (list.tensor == x.tensor - back && list.row == x.row && list.rows == x.rows) return copy;
    }
    throw ScheduleError("a uOp loads tile " + std::to_string(tile) + " by indices that are not in SRAM");
}

// Appends the transfer of a tile, or of each of its pages; returns how many its queue then holds.
std::uint32_t Walk::move(Opcode opcode, std::uint32_t copy, const Clock& wait, std::uint32_t sync, std::uint32_t list) {
    const std::uint32_t tile = copy_[copy].tile;
    const std::uint32_t list_tile = list == kNone ? kNone : copy_[list].tile;
    const std::uint32_t list_sram = list == kNone ? kNone : copy_[list].address;
    std::uint32_t count = 0;
    const auto one = [&](std::uint32_t part) {
        const std::uint32_t at = copy_[copy].address + program_.offset(part);
        out_.transfers.push_back({part, tile_[tile].version, at, list_tile, list_sram});
        count = emit(opcode, static_cast<std::uint32_t>(out_.transfers.size() - 1), wait, sync);
    };
    if (paged_.empty() || paged_[tile] == 0) {
        one(tile);
    } else {
        for (const std::uint32_t part : pages_[paged_[tile] - 1]) one(part);
    }
    return count;
}

// Makes sure that the tile which the operation writes has a place, and its earlier sums are there.
void Walk::place_target(std::uint32_t copy, std::uint32_t step, Clock& wait) {
    if (copy_[copy].address != kNone) {
        core_->candidates[copy_[copy].home].remove(copy);  // the matrix unit wrote it, and accumulates in order by itself
    } else if (step > 0) {
        load(copy);
        wait_for_writer(copy, wait);
    } else {
        wait = place(copy);
    }
}

// Gives the copy an address, evicting others; returns what must have retired before it is written.
Clock Walk::place(std::uint32_t copy) {
    Copy& x = copy_[copy];
    Places& memory = core_->memories[x.home];
    if (x.home == kAccumulator && x.bytes != core_->slot && memory.used_bytes() == 0) {
        memory.merge();  // a layer of other slots begins
        core_->slot = x.bytes;
    }
    bool cleared = false;
    auto found = memory.allocate(x.bytes, x.small);
    for (; !found; found = memory.allocate(x.bytes, x.small)) {
        if (evict(x.home, -1)) continue;
        if (cleared) throw ScheduleError("an operation's operands do not fit into the SRAM");
        cleared = true;
        x.bytes = program_.bytes(x.tile);
        clear(x.home);
    }
    x.address = static_cast<std::uint32_t>(found->address);
    x.touched = found->clock;
    if (x.home == kScratchpad) peak_ = std::max(peak_, memory.used_bytes());
    return found->clock;
}

// Removes the copy of this memory whose next use is farthest; false if none is used later than `beyond`.
bool Walk::evict(Home home, std::int64_t beyond) {
    const Candidates& candidates = core_->candidates[home];
    if (candidates.empty() || std::int64_t{candidates.distance()} <= beyond) return false;
    const std::uint32_t copy = candidates.first();
    if (copy_[copy].dirty) store(copy);
    free(copy);
    return true;
}

// Last resort against fragmentation: moves the operands to the start of an empty memory, side by side.
void Walk::clear(Home home) {
    std::vector<std::uint32_t> moved;
    for (const std::uint32_t copy : operands_) {
        if (copy_[copy].home == home) moved.push_back(copy);
    }
    for (const std::uint32_t copy : moved) {
        if (copy_[copy].dirty) store(copy);
        free(copy);
    }
    core_->memories[home].merge();
    for (const std::uint32_t copy : moved) {
        copy_[copy].bytes = program_.bytes(copy_[copy].tile);
        load(copy);
    }
}

void Walk::free(std::uint32_t copy) {
    Copy& x = copy_[copy];
    core_->memories[x.home].free(x.address, x.bytes, x.touched);
    core_->candidates[x.home].remove(copy);
    x.address = kNone;
}

// -- bookkeeping ----------------------------------------------------------------------------------

void Walk::wait_for_writer(std::uint32_t copy, Clock& wait) const {
    const Copy& x = copy_[copy];
    wait[x.writer] = std::max(wait[x.writer], x.writer_count);
}

void Walk::wrote(std::uint32_t copy, std::uint32_t version, Queue queue, std::uint32_t count) {
    Copy& x = copy_[copy];
    tile_[x.tile].version = version;
    x.dirty = true;
    x.writer = static_cast<std::uint8_t>(queue);
    x.writer_count = count;
    x.touched[index(queue)] = count;
}

void Walk::release_operands(Queue queue, std::uint32_t count) {
    for (const std::uint32_t copy : operands_) {
        copy_[copy].operand = false;
        copy_[copy].touched[index(queue)] = count;
        used(copy, copy_[copy].next_use);
    }
    operands_.clear();
}

// Frees the copy after its last use, or makes it a candidate for eviction.
void Walk::used(std::uint32_t copy, std::uint32_t next_use) {
    if (next_use == kNotAgain) {
        free(copy);
        return;
    }
    Copy& x = copy_[copy];
    x.next_use = next_use;
    Candidates& candidates = core_->candidates[x.home];
    candidates.remove(copy);
    // an eviction of a dirty tile costs two transfers, so it counts as half as far away
    const std::int64_t now = core_->now, distance = next_use - now;
    candidates.add(copy, static_cast<std::uint32_t>(now + (x.dirty ? distance >> 1 : distance)));
}

// -- the schedule ---------------------------------------------------------------------------------

// Appends an operation of the core; returns how many its queue there then holds.
std::uint32_t Walk::emit(Opcode opcode, std::uint32_t row, const Clock& wait, std::uint32_t sync) {
    StreamRow x{};
    x.opcode = static_cast<std::uint8_t>(opcode);
    x.queue = static_cast<std::uint8_t>(queue_of(opcode));
    x.core = static_cast<std::uint16_t>(core_number_);
    x.layer = layer_;
    x.row = row;
    std::copy(wait.begin(), wait.end(), x.wait);
    x.sync = sync;
    out_.stream.push_back(x);
    return ++core_->counts[x.queue];
}

void Walk::address_pieces(std::uint32_t first) {
    bool more = first != kNone;
    for (std::size_t i = first; more; ++i) {
        PieceRow& piece = placed_.pieces[i];
        piece.sram = address_of(piece.tile);
        more = piece.more != 0;
    }
}

}  // namespace

Walked walk(const UopProgram& program, const WalkMachine& machine, const Operands& placed) {
    return Walk(program, machine, placed).run();
}

}  // namespace minisim
