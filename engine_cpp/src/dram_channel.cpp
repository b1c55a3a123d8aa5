#include "minisim/dram_channel.hpp"

#include <algorithm>

namespace minisim {
namespace {

constexpr std::int64_t kRowHits = 4;  // ROW_HITS of the definition

void at_least(Cycle& cycle, Cycle least) { cycle = std::max(cycle, least); }

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

}  // namespace

DramChannel::DramChannel(const DramPart& part) : part_(part) {
    const std::size_t ranks = size(part.ranks), groups = ranks * size(part.groups);
    const std::size_t banks = groups * size(part.banks);
    queues_.resize(banks);
    for (auto& queue : queues_) queue.reserve(size(part.bank_queue));  // no cycle asks for memory
    for (auto* queue : {&reads_, &writes_}) queue->reserve(size(part.queue));
    occupied_.assign((banks + 63) / 64, 0);
    last_ = banks - 1;
    for (std::size_t bank = 0; bank < banks; ++bank) {
        group_.push_back(bank / size(part.banks));
        rank_.push_back(group_.back() / size(part.groups));
    }
    ready_.assign(banks, kNever);
    row_.assign(banks, -1);
    hits_.assign(banks, 0);
    for (auto* of_bank : {&activate_, &precharge_, &column_}) of_bank->assign(banks, 0);
    for (auto* of_group : {&group_activate_, &group_read_, &group_write_}) {
        of_group->assign(groups, 0);
    }
    for (auto* of_rank : {&rank_activate_, &rank_read_, &rank_write_}) of_rank->assign(ranks, 0);
    window_.resize(ranks);
    refresh_at_ = part.tREFI / part.ranks;
}

// -- requests -------------------------------------------------------------------------------------

bool DramChannel::accepts(bool write) const {
    return (write ? writes_ : reads_).size() < size(part_.queue);
}

void DramChannel::push(std::size_t bank, std::int64_t row, bool write, Cycle now) {
    (write ? writes_ : reads_).push_back({bank, {row, write}});
    next_ = std::min(next_, now);
}

void DramChannel::hold_columns(Cycle until) {
    for (auto* table : {&rank_read_, &rank_write_}) {
        for (Cycle& cycle : *table) at_least(cycle, until);
    }
}

void DramChannel::no_more_requests(Cycle now) {
    flushing_ = true;
    if (!writes_.empty()) next_ = now;
}

Cycle DramChannel::run(const std::vector<Burst>& bursts, Cycle start, Cycle not_before) {
    more_requests();
    hold_columns(not_before);
    Cycle now = start, last = start;
    std::size_t asked = 0, unserved = bursts.size();
    while (unserved) {
        bool took = false;  // writes, which may go on in the next cycle
        for (; asked < bursts.size() && accepts(bursts[asked].write); ++asked) {
            push(bursts[asked].bank, bursts[asked].row, bursts[asked].write, now);
            took |= bursts[asked].write;
        }
        if (asked == bursts.size()) no_more_requests(now);
        if (next_ <= now) {
            const Served served = tick(now);
            const auto count = static_cast<std::size_t>(served.reads + served.writes);
            if (count) last = now;
            unserved -= count;
        }
        now = std::max(now + 1, took ? std::min(next_, now + 1) : next_);
    }
    return last + part_.burst_cycles;
}

// -- one cycle ------------------------------------------------------------------------------------

// Does `work` for the banks in [begin, end) that have requests, up to the first that returns true;
// whether one did. Few banks have any, most of the time.
template <class Work>
bool DramChannel::in_turn(std::size_t begin, std::size_t end, Work work) const {
    for (std::size_t first = begin / 64 * 64; first < end; first += 64) {
        std::uint64_t bits = occupied_[first / 64];
        if (first < begin) bits &= ~std::uint64_t{0} << (begin - first);
        for (; bits; bits &= bits - 1) {
            const std::size_t bank = first + static_cast<std::size_t>(__builtin_ctzll(bits));
            if (bank >= end) break;
            if (work(bank)) return true;
        }
    }
    return false;
}

Cycle DramChannel::earliest() const {
    Cycle found = kNever;
    in_turn(0, ready_.size(), [&](std::size_t bank) {
        found = std::min(found, ready_[bank]);
        return false;
    });
    return found;
}

DramChannel::Served DramChannel::tick(Cycle now) {
    if (now >= refresh_at_) refresh(now);
    Served served;
    bool busy = false;
    for (std::int64_t i = 0; i < part_.commands; ++i) {
        if (!issue(now, served)) break;
        busy = true;
    }
    if (!reads_.empty() || !writes_.empty()) busy = move() || busy;
    next_ = busy ? now + 1 : earliest();
    return served;
}

// One request from the channel's queue to its bank's; whether one could move.
bool DramChannel::move() {
    if (draining_ == 0) {
        const std::int64_t batch = std::min(part_.write_batch, part_.queue);
        const std::int64_t enough = !reads_.empty() ? part_.queue : flushing_ ? 1 : batch;
        draining_ = writes_.size() >= size(enough) ? writes_.size() : 0;
    }
    std::vector<Waiting>& queue = draining_ ? writes_ : reads_;
    for (auto it = queue.begin(); it != queue.end(); ++it) {
        if (queues_[it->bank].size() >= size(part_.bank_queue)) continue;
        queues_[it->bank].push_back(it->request);
        occupied_[it->bank / 64] |= std::uint64_t{1} << it->bank % 64;
        ready_[it->bank] = 0;  // to be worked out
        queue.erase(it);
        if (draining_) --draining_;
        return true;
    }
    return false;
}

// Gives the first command that is ready, the banks in turn; whether there was one.
bool DramChannel::issue(Cycle now, Served& served) {
    const auto given = [&](std::size_t bank) {
        if (ready_[bank] > now) return false;
        const Command command = next_command(bank, now);
        ready_[bank] = command.at;
        if (command.at > now) return false;
        last_ = bank;
        std::vector<Request>& queue = queues_[bank];
        if (command.kind == Kind::kActivate) {
            give_activate(bank, queue.front().row, now);
        } else if (command.kind == Kind::kPrecharge) {
            row_[bank] = -1;
            at_least(activate_[bank], now + part_.tRP);
        } else {
            const bool write = queue[command.index].write;
            queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(command.index));
            give_column(bank, write, now);
            ++(write ? served.writes : served.reads);
        }
        ready_[bank] = queue.empty() ? kNever : now + 1;
        if (queue.empty()) occupied_[bank / 64] &= ~(std::uint64_t{1} << bank % 64);
        return true;
    };
    const std::size_t next = last_ + 1;
    return in_turn(next, ready_.size(), given) || in_turn(0, next, given);
}

DramChannel::Command DramChannel::next_command(std::size_t bank, Cycle now) const {
    const std::vector<Request>& queue = queues_[bank];
    const std::size_t rank = rank_[bank], group = group_[bank];
    if (row_[bank] < 0) {
        const Cycle at = std::max({activate_[bank], group_activate_[group], rank_activate_[rank],
                                   window_[rank].at[0] + part_.tFAW});
        return {at, Kind::kActivate, 0};
    }
    const Cycle read = std::max({column_[bank], group_read_[group], rank_read_[rank], now});
    const Cycle write = std::max({column_[bank], group_write_[group], rank_write_[rank], now});
    Command found = {kNever, Kind::kColumn, 0};
    for (std::size_t i = 0; i < queue.size() && found.at != now; ++i) {
        const Cycle possible = queue[i].write ? write : read;
        if (queue[i].row == row_[bank] && possible < found.at) found = {possible, Kind::kColumn, i};
    }
    if (queue.front().row != row_[bank] && (found.at == kNever || hits_[bank] >= kRowHits)) {
        const Cycle close = std::max(precharge_[bank], now);
        if (close <= found.at) return {close, Kind::kPrecharge, 0};
    }
    return found;
}

// -- commands -------------------------------------------------------------------------------------

void DramChannel::give_activate(std::size_t bank, std::int64_t row, Cycle now) {
    const std::size_t rank = rank_[bank];
    row_[bank] = row;
    hits_[bank] = 0;
    activate_[bank] = now + part_.tRAS + part_.tRP;
    column_[bank] = now + part_.tRCD;
    precharge_[bank] = now + part_.tRAS;
    group_activate_[group_[bank]] = now + part_.tRRD_L;
    rank_activate_[rank] = now + part_.tRRD_S;
    Cycle* window = window_[rank].at;
    std::copy(window + 1, window + 4, window);
    window[3] = now;
}

void DramChannel::give_column(std::size_t bank, bool write, Cycle now) {
    const std::size_t rank = rank_[bank], group = group_[bank];
    const Cycle burst = part_.burst_cycles;
    const Cycle shorter = std::max(burst, part_.tCCD_S), longer = std::max(burst, part_.tCCD_L);
    Cycle close, group_read, group_write, rank_read, rank_write, other_read, other_write;
    if (write) {
        const Cycle after = now + part_.CWL + burst;  // the data is in
        close = after + part_.tWR;
        group_read = after + part_.tWTR_L;
        rank_read = after + part_.tWTR_S;
        group_write = now + longer;
        rank_write = now + shorter;
        other_read = after - part_.CL + part_.tRTRS;
        other_write = now + burst + part_.tRTRS;
    } else {
        const Cycle turn = now + part_.CL + burst - part_.CWL;  // a write's data right behind ours
        close = now + part_.tRTP;
        group_read = now + longer;
        rank_read = now + shorter;
        group_write = rank_write = turn + part_.tRPRE;
        other_read = now + burst + part_.tRTRS;
        other_write = turn + part_.tRTRS;
    }
    ++hits_[bank];
    at_least(precharge_[bank], close);
    at_least(group_read_[group], group_read);
    at_least(group_write_[group], group_write);
    for (std::size_t r = 0; r < rank_read_.size(); ++r) {
        at_least(rank_read_[r], r == rank ? rank_read : other_read);
        at_least(rank_write_[r], r == rank ? rank_write : other_write);
    }
}

// All refreshes that have come due: a rank closes its rows, then rests for tRFC, in turn.
void DramChannel::refresh(Cycle now) {
    const Cycle interval = part_.tREFI / part_.ranks;
    const std::size_t ranks = size(part_.ranks), per_rank = size(part_.groups * part_.banks);
    const Cycle missed = (now - refresh_at_) / interval - part_.ranks;
    if (missed > 0) {  // an idle time: the last ones count
        refresh_at_ += missed * interval;
        refresh_rank_ = (refresh_rank_ + size(missed)) % ranks;
    }
    while (refresh_at_ <= now) {
        const std::size_t begin = refresh_rank_ * per_rank, end = begin + per_rank;
        Cycle start = refresh_at_;
        for (std::size_t bank = begin; bank < end; ++bank) {
            at_least(start, row_[bank] < 0 ? activate_[bank] : precharge_[bank] + part_.tRP);
        }
        for (std::size_t bank = begin; bank < end; ++bank) {
            row_[bank] = -1;
            activate_[bank] = start + part_.tRFC;
        }
        refresh_at_ += interval;
        refresh_rank_ = (refresh_rank_ + 1) % ranks;
    }
}

}  // namespace minisim
