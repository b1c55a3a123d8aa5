// One DRAM channel, timed: the twin of hwmodel/dram_channel.py, which explains and defines it.
// Both give every command in the same cycle; the names are the same, so read them side by side.
// What the twin has of its own: a run that it has served before is not served again but repeated
// (dram_repeats.cpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace minisim {

using Cycle = std::int64_t;

constexpr Cycle kNever = Cycle{1} << 62;

// The numbers of a part (hwmodel/dram_presets.py has their meaning); cycles are the DRAM's own.
// clang-format off
#define MINISIM_DRAM_NUMBERS(X)                                                                    \
    X(channels) X(ranks) X(groups) X(banks) X(rows) X(page_bursts) X(burst_bytes) X(burst_cycles)  \
    X(CL) X(CWL) X(tRCD) X(tRP) X(tRAS) X(tCCD_S) X(tCCD_L) X(tRRD_S) X(tRRD_L) X(tFAW)            \
    X(tWTR_S) X(tWTR_L) X(tWR) X(tRTP) X(tRPRE) X(tRTRS) X(tREFI) X(tRFC)                          \
    X(queue) X(write_batch) X(bank_queue) X(commands)
// clang-format on

struct DramPart {
#define MINISIM_DRAM_NUMBER(name) std::int64_t name = 0;
    MINISIM_DRAM_NUMBERS(MINISIM_DRAM_NUMBER)
#undef MINISIM_DRAM_NUMBER
    std::string mapping;
};

class ServedRuns;

class DramChannel {
public:
    explicit DramChannel(const DramPart& part);

    // What a cycle's column commands served.
    struct Served {
        int reads = 0, writes = 0;
    };

    // Bursts of one row that are asked for one after the other.
    struct Train {
        std::size_t bank;
        std::int64_t row;
        bool write;
        std::size_t bursts;
        bool continues(std::size_t at, std::int64_t in, bool way) const {
            return bank == at && row == in && write == way;
        }
    };
    // Serves the bursts in the order in which they are asked for, the first at `start`, with no
    // column command before `not_before`: when the data bus is free of the last one. `served` are
    // the runs of channels of this part, to which it adds this one.
    Cycle run(const std::vector<Train>& trains, Cycle start, Cycle not_before, ServedRuns& served);

    bool accepts(bool write) const;
    void push(std::size_t bank, std::int64_t row, bool write, Cycle now);  // once it accepts
    void hold_columns(Cycle until);
    void more_requests() { flushing_ = false; }  // writes wait for company
    void no_more_requests(Cycle now);            // and now they do not

    // Does what cycle `now` allows, and sets `next`.
    Served tick(Cycle now);

    Cycle next() const { return next_; }  // the next cycle at which a tick may do something

private:
    enum class Kind { kActivate, kPrecharge, kColumn };
    struct Request {
        std::int64_t row;
        bool write;
    };
    struct Waiting {
        std::size_t bank;
        Request request;
    };
    struct Command {
        Cycle at;
        Kind kind;
        std::size_t index;  // of the request in the bank's queue
    };

    // Of each the earliest cycles of its next commands.
    struct Bank {
        std::size_t rank, group;
        std::vector<Request> queue;
        Cycle ready = kNever;   // no command of its own can be given before
        std::int64_t row = -1;  // the open one; -1: none
        std::int64_t hits = 0;  // column commands since its activate, kRowHits or more being alike
        Cycle activate = 0, precharge = 0, column = 0;
        std::size_t used = 0;  // its place in used_, if it has one
    };
    struct Group {
        Cycle activate = 0, read = 0, write = 0;
    };
    struct Rank {
        Cycle activate = 0, read = 0, write = 0;
        Cycle window[4] = {-kNever, -kNever, -kNever, -kNever};  // the last four activates
        std::uint32_t activates = 0;                             // how many, since a run's begin
        bool used = false;                                       // by a run

        void activated(Cycle cycle) {
            std::copy(window + 1, window + 4, window);
            window[3] = cycle;
            ++activates;
        }
    };

    template <class Work>
    bool in_turn(std::size_t begin, std::size_t end, const Work& work) const;
    Cycle earliest() const;
    Cycle serve(const std::vector<Train>& trains, Cycle start);  // the last column command
    bool move();
    bool issue(Cycle now, Served& served);
    Command next_command(const Bank& bank, Cycle now) const;
    void give_activate(Bank& bank, std::int64_t row, Cycle now);
    void give_column(Bank& bank, bool write, Cycle now);
    void refresh(Cycle now);

    DramPart part_;
    Cycle next_ = kNever;
    bool flushing_ = false;
    std::vector<Waiting> reads_, writes_;
    std::size_t draining_ = 0;
    std::vector<Bank> banks_;
    std::vector<Group> groups_;
    std::vector<Rank> ranks_;
    std::vector<std::uint64_t> occupied_;  // banks whose queue is not empty, a bit each
    std::size_t last_;                     // the bank of the last command
    Cycle refresh_at_;
    std::size_t refresh_rank_ = 0;

    // -- runs that come again (dram_repeats.cpp) --

    // A bank that a run uses, the row of it that comes first, and whether one of its rows is open.
    struct Used {
        Bank* bank;
        std::int64_t first;
        bool hit;
    };
    void find_used(const std::vector<Train>& trains);
    template <class Visit>
    void each_timer(Cycle start, Cycle columns, Visit visit);
    bool describe(const std::vector<Train>& trains, Cycle start, Cycle columns);
    Cycle serve_and_note(const std::vector<Train>& trains, Cycle start, Cycle columns,
                         ServedRuns& served);
    Cycle repeat(const std::vector<std::int32_t>& outcome, Cycle start, Cycle columns);

    std::vector<Used> used_;
    std::vector<std::size_t> used_groups_;
    std::vector<std::int32_t> description_, outcome_;
    std::vector<Cycle> before_;
};

}  // namespace minisim
