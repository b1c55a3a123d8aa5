#include "minisim/dram_channel.hpp"

#include <algorithm>

namespace minisim {
namespace {

constexpr std::int64_t kRowHits = 4;  // ROW_HITS of the definition

void at_least(Cycle& cycle, Cycle least) { cycle = std::max(cycle, least); }

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

}  // namespace

DramChannel::DramChannel(const DramPart& part) : part_(part) {
    ranks_.resize(size(part.ranks));
    groups_.resize(ranks_.size() * size(part.groups));
    banks_.resize(groups_.size() * size(part.banks));
    for (std::size_t i = 0; i < banks_.size(); ++i) {
        banks_[i].group = i / size(part.banks);
        banks_[i].rank = banks_[i].group / size(part.groups);
        banks_[i].queue.reserve(size(part.bank_queue));  // no cycle asks for memory
    }
    for (auto* queue : {&reads_, &writes_}) queue->reserve(size(part.queue));
    occupied_.assign((banks_.size() + 63) / 64, 0);
    last_ = banks_.size() - 1;
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
    for (Rank& rank : ranks_) {
        at_least(rank.read, until);
        at_least(rank.write, until);
    }
}

void DramChannel::no_more_requests(Cycle now) {
    flushing_ = true;
    if (!writes_.empty()) next_ = now;
}

Cycle DramChannel::serve(const std::vector<Train>& trains, Cycle start) {
    Cycle now = start, last = start;
    std::size_t unserved = 0, asked = 0;  // of the train's
    for (const Train& train : trains) unserved += train.bursts;
    auto train = trains.begin();
    while (unserved) {
        bool took = false;  // writes, which may go on in the next cycle
        while (train != trains.end() && accepts(train->write)) {
            push(train->bank, train->row, train->write, now);
            took |= train->write;
            if (++asked < train->bursts) continue;
            ++train;
            asked = 0;
        }
        if (train == trains.end()) no_more_requests(now);
        if (next_ <= now) {
            const Served served = tick(now);
            const auto count = static_cast<std::size_t>(served.reads + served.writes);
            if (count) last = now;
            unserved -= count;
        }
        now = std::max(now + 1, took ? std::min(next_, now + 1) : next_);
    }
    return last;
}

// -- one cycle ------------------------------------------------------------------------------------

// Does `work` for the banks in [begin, end) that have requests, up to the first that returns true;
// whether one did. Few banks have any, most of the time.
template <class Work>
bool DramChannel::in_turn(std::size_t begin, std::size_t end, const Work& work) const {
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
    in_turn(0, banks_.size(), [&](std::size_t bank) {
        found = std::min(found, banks_[bank].ready);
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
        Bank& bank = banks_[it->bank];
        if (bank.queue.size() >= size(part_.bank_queue)) continue;
        bank.queue.push_back(it->request);
        bank.ready = 0;  // to be worked out
        occupied_[it->bank / 64] |= std::uint64_t{1} << it->bank % 64;
        queue.erase(it);
        if (draining_) --draining_;
        return true;
    }
    return false;
}

// Gives the first command that is ready, the banks in turn; whether there was one.
bool DramChannel::issue(Cycle now, Served& served) {
    const auto given = [&](std::size_t number) {
        Bank& bank = banks_[number];
        if (bank.ready > now) return false;
        const Command command = next_command(bank, now);
        bank.ready = command.at;
        if (command.at > now) return false;
        last_ = number;
        if (command.kind == Kind::kActivate) {
            give_activate(bank, bank.queue.front().row, now);
        } else if (command.kind == Kind::kPrecharge) {
            bank.row = -1;
            at_least(bank.activate, now + part_.tRP);
        } else {
            const bool write = bank.queue[command.index].write;
            bank.queue.erase(bank.queue.begin() + static_cast<std::ptrdiff_t>(command.index));
            give_column(bank, write, now);
            ++(write ? served.writes : served.reads);
        }
        bank.ready = bank.queue.empty() ? kNever : now + 1;
        if (bank.queue.empty()) occupied_[number / 64] &= ~(std::uint64_t{1} << number % 64);
        return true;
    };
    const std::size_t next = last_ + 1;
    return in_turn(next, banks_.size(), given) || in_turn(0, next, given);
}

DramChannel::Command DramChannel::next_command(const Bank& bank, Cycle now) const {
    const std::vector<Request>& queue = bank.queue;
    const Rank& rank = ranks_[bank.rank];
    const Group& group = groups_[bank.group];
    if (bank.row < 0) {
        const Cycle at = std::max({bank.activate, group.activate, rank.activate,
                                   rank.window[0] + part_.tFAW});
        return {at, Kind::kActivate, 0};
    }
    const Cycle read = std::max({bank.column, group.read, rank.read, now});
    const Cycle write = std::max({bank.column, group.write, rank.write, now});
    const Cycle least = std::min(read, write);
    Command found = {kNever, Kind::kColumn, 0};
    for (std::size_t i = 0; i < queue.size() && found.at != least; ++i) {
        const Cycle possible = queue[i].write ? write : read;
        if (queue[i].row == bank.row && possible < found.at) found = {possible, Kind::kColumn, i};
    }
    if (queue.front().row != bank.row && (found.at == kNever || bank.hits >= kRowHits)) {
        const Cycle close = std::max(bank.precharge, now);
        if (close <= found.at) return {close, Kind::kPrecharge, 0};
    }
    return found;
}

// -- commands -------------------------------------------------------------------------------------

void DramChannel::give_activate(Bank& bank, std::int64_t row, Cycle now) {
    Rank& rank = ranks_[bank.rank];
    bank.row = row;
    bank.hits = 0;
    bank.activate = now + part_.tRAS + part_.tRP;
    bank.column = now + part_.tRCD;
    bank.precharge = now + part_.tRAS;
    groups_[bank.group].activate = now + part_.tRRD_L;
    rank.activate = now + part_.tRRD_S;
    rank.activated(now);
}

void DramChannel::give_column(Bank& bank, bool write, Cycle now) {
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
    Group& group = groups_[bank.group];
    bank.hits = std::min(bank.hits + 1, kRowHits);
    at_least(bank.precharge, close);
    at_least(group.read, group_read);
    at_least(group.write, group_write);
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
        at_least(ranks_[r].read, r == bank.rank ? rank_read : other_read);
        at_least(ranks_[r].write, r == bank.rank ? rank_write : other_write);
    }
}

// All refreshes that have come due: a rank closes its rows, then rests for tRFC, in turn.
void DramChannel::refresh(Cycle now) {
    const Cycle interval = part_.tREFI / part_.ranks;
    const std::size_t per_rank = size(part_.groups * part_.banks);
    const Cycle missed = (now - refresh_at_) / interval - part_.ranks;
    if (missed > 0) {  // an idle time: the last ones count
        refresh_at_ += missed * interval;
        refresh_rank_ = (refresh_rank_ + size(missed)) % ranks_.size();
    }
    while (refresh_at_ <= now) {
        Bank* const begin = &banks_[refresh_rank_ * per_rank];
        Bank* const end = begin + per_rank;
        Cycle start = refresh_at_;
        for (const Bank* bank = begin; bank != end; ++bank) {
            at_least(start, bank->row < 0 ? bank->activate : bank->precharge + part_.tRP);
        }
        for (Bank* bank = begin; bank != end; ++bank) {
            bank->row = -1;
            bank->activate = start + part_.tRFC;
        }
        refresh_at_ += interval;
        refresh_rank_ = (refresh_rank_ + 1) % ranks_.size();
    }
}

}  // namespace minisim
