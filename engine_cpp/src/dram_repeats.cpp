// Runs of bursts that come again: most transfers of a program are like others before them.
//
// What a run of bursts does to a channel depends on nothing but the banks, rows and directions of
// its bursts and the state in which it finds the banks, groups and ranks that they use. Of that
// state
// - a cycle counts relative to the run's first one, and all that lie behind are alike: a command
//   that could have been given earlier can be given now;
// - a row counts as the difference to the first one that the run uses of its bank, and all open
//   rows that it does not use are alike.
// So two runs with one description, in these terms, have one outcome, in the same terms, unless a
// refresh falls into one of them. A run is described, and either repeated or served and noted.
//
// What a run brings is wanted apart from what there was: so the cycles that lie behind are set to
// kLongAgo while a run is served that is to be noted. What they grow to from there, they grow to in
// every run of this description; and the later of that and what there was is what there is then.
#include <algorithm>
#include <cstring>
#include <limits>

#include "minisim/dram_channel.hpp"
#include "minisim/served_runs.hpp"

namespace minisim {
namespace {

constexpr Cycle kLongAgo = -kNever;
constexpr std::int32_t kPast = std::numeric_limits<std::int32_t>::min();  // kLongAgo, relative
constexpr std::int32_t kClosed = -1, kOtherRow = -2;  // beside 0: a row of the run's own is open
constexpr std::size_t kMostTrains = 1024;             // of a run that is noted
constexpr std::size_t kMostNumbers = std::size_t{1} << 20;  // in all notes: 4 MiB

// Numbers relative to a run; whether all of them could be told in 32 bits.
class Numbers {
public:
    explicit Numbers(std::vector<std::int32_t>& to) : to_(to) { to_.clear(); }
    void add(std::int64_t number) {
        to_.push_back(static_cast<std::int32_t>(number));
        fit_ = fit_ && number == to_.back();
    }
    bool fit() const { return fit_; }

private:
    std::vector<std::int32_t>& to_;
    bool fit_ = true;
};

// Of four numbers at a time, in two sums that need not wait for each other.
std::uint64_t hash(const std::vector<std::int32_t>& numbers) {
    constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
    std::uint64_t sums[2] = {numbers.size(), 0};
    const auto take = [&](std::uint64_t& sum, std::uint64_t numbers) {
        sum = (sum ^ numbers) * kOdd;
        sum ^= sum >> 32;
    };
    std::size_t i = 0;
    for (; i + 4 <= numbers.size(); i += 4) {
        std::uint64_t pairs[2];
        std::memcpy(pairs, &numbers[i], sizeof pairs);
        take(sums[0], pairs[0]);
        take(sums[1], pairs[1]);
    }
    for (; i < numbers.size(); ++i) take(sums[0], static_cast<std::uint32_t>(numbers[i]));
    return (sums[0] ^ sums[1] * 3) * kOdd;
}

}  // namespace

// -- notes ----------------------------------------------------------------------------------------

const ServedRuns::Numbers* ServedRuns::find(const Numbers& description) const {
    const auto found = runs_.find(hash(description));
    const bool same = found != runs_.end() && found->second.description == description;
    return same ? &found->second.outcome : nullptr;
}

// Of those of one hash the latest is kept; when there is no more room, all are forgotten.
void ServedRuns::add(const Numbers& description, const Numbers& outcome) {
    numbers_ += description.size() + outcome.size();
    if (numbers_ > kMostNumbers) {
        runs_.clear();
        numbers_ = description.size() + outcome.size();
    }
    runs_[hash(description)] = {description, outcome};
}

// -- runs -----------------------------------------------------------------------------------------

Cycle DramChannel::run(const std::vector<Train>& trains, Cycle start, Cycle not_before,
                       ServedRuns& served) {
    more_requests();
    hold_columns(not_before);
    const auto last = [&] {
        if (start >= refresh_at_ || trains.size() > kMostTrains) return serve(trains, start);
        const Cycle columns = std::max(start, not_before);
        find_used(trains);
        const bool told = describe(trains, start, columns);
        if (!told) return serve(trains, start);
        const ServedRuns::Numbers* outcome = served.find(description_);
        if (!outcome) return serve_and_note(trains, start, columns, served);
        const bool before_refresh = start + outcome->front() < refresh_at_;
        return before_refresh ? repeat(*outcome, start, columns) : serve(trains, start);
    };
    return last() + part_.burst_cycles;
}

void DramChannel::find_used(const std::vector<Train>& trains) {
    used_.clear();
    used_groups_.clear();
    for (Rank& rank : ranks_) rank.used = false;
    for (const Train& train : trains) {
        Bank& bank = banks_[train.bank];
        if (bank.used >= used_.size() || used_[bank.used].bank != &bank) {
            bank.used = used_.size();
            used_.push_back({&bank, train.row, false});
            ranks_[bank.rank].used = true;
            if (std::find(used_groups_.begin(), used_groups_.end(), bank.group) ==
                used_groups_.end()) {
                used_groups_.push_back(bank.group);
            }
        }
        used_[bank.used].hit |= train.row == bank.row;
    }
}

// Calls visit(cycle, past) for each earliest cycle that a run may move: up to `past` it makes no
// difference to the run. The ranks give no column command before `columns`, whatever banks and
// groups say; a refresh adds tRP to the cycle from which on a row may be closed. Of ranks that the
// run does not use, the cycles of column commands are moved, but make no difference.
template <class Visit>
void DramChannel::each_timer(Cycle start, Cycle columns, Visit visit) {
    for (const Used& used : used_) {
        visit(used.bank->activate, start);
        visit(used.bank->precharge, start - part_.tRP);
        visit(used.bank->column, columns);
    }
    for (const std::size_t group : used_groups_) {
        visit(groups_[group].activate, start);
        visit(groups_[group].read, columns);
        visit(groups_[group].write, columns);
    }
    for (Rank& rank : ranks_) {
        if (rank.used) visit(rank.activate, start);
        visit(rank.read, rank.used ? start : kNever);
        visit(rank.write, rank.used ? start : kNever);
    }
}

// Into description_; whether it could be told.
bool DramChannel::describe(const std::vector<Train>& trains, Cycle start, Cycle columns) {
    Numbers to(description_);
    to.add(static_cast<std::int64_t>(last_));
    for (const Train& train : trains) {
        to.add(static_cast<std::int64_t>(train.bank));
        to.add(train.row - used_[banks_[train.bank].used].first);
        to.add(static_cast<std::int64_t>(train.bursts) * 2 + train.write);
    }
    for (const auto& [bank, first, hit] : used_) {
        to.add(hit ? bank->hits : bank->row < 0 ? kClosed : kOtherRow);
        to.add(hit ? bank->row - first : 0);
    }
    each_timer(start, columns, [&](Cycle& cycle, Cycle past) {
        to.add(cycle > past ? cycle - start : kPast);
    });
    for (const Rank& rank : ranks_) {
        if (!rank.used) continue;
        for (const Cycle cycle : rank.window) {
            to.add(cycle + part_.tFAW > start ? cycle - start : kPast);
        }
    }
    return to.fit();
}

Cycle DramChannel::serve_and_note(const std::vector<Train>& trains, Cycle start, Cycle columns,
                                  ServedRuns& served) {
    before_.clear();
    each_timer(start, columns, [&](Cycle& cycle, Cycle past) {
        before_.push_back(cycle);
        if (cycle <= past) cycle = kLongAgo;
    });
    for (Rank& rank : ranks_) rank.activates = 0;
    const Cycle refresh = refresh_at_;
    const Cycle last = serve(trains, start);

    Numbers to(outcome_);
    to.add(last - start);
    to.add(static_cast<std::int64_t>(last_));
    for (const auto& [bank, first, hit] : used_) {
        to.add(bank->row - first);
        to.add(bank->hits);
    }
    auto before = before_.begin();
    each_timer(start, columns, [&](Cycle& cycle, Cycle) {
        to.add(cycle == kLongAgo ? kPast : cycle - start);
        cycle = std::max(cycle, *before++);
    });
    for (const Rank& rank : ranks_) {
        const auto news = std::min<std::ptrdiff_t>(rank.activates, 4);
        to.add(news);
        for (const Cycle* cycle = rank.window + 4 - news; cycle != rank.window + 4; ++cycle) {
            to.add(*cycle - start);
        }
    }
    if (refresh_at_ == refresh && to.fit()) served.add(description_, outcome_);
    return last;
}

Cycle DramChannel::repeat(const std::vector<std::int32_t>& outcome, Cycle start, Cycle columns) {
    auto told = outcome.begin();
    const Cycle last = start + *told++;
    next_ = last + 1;
    last_ = static_cast<std::size_t>(*told++);
    for (const auto& [bank, first, hit] : used_) {
        bank->row = first + *told++;
        bank->hits = *told++;
    }
    each_timer(start, columns, [&](Cycle& cycle, Cycle) {
        const std::int32_t relative = *told++;
        if (relative != kPast) cycle = std::max(cycle, start + relative);
    });
    for (Rank& rank : ranks_) {
        for (std::int32_t news = *told++; news > 0; --news) rank.activated(start + *told++);
    }
    return last;
}

}  // namespace minisim
