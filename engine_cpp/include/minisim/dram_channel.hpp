// One DRAM channel, timed: the twin of hwmodel/dram_channel.py, which explains and defines it.
// Both give every command in the same cycle; the names are the same, so read them side by side.
#pragma once

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

class DramChannel {
public:
    explicit DramChannel(const DramPart& part);

    // What a cycle's column commands served.
    struct Served {
        int reads = 0, writes = 0;
    };

    struct Burst {
        std::size_t bank;
        std::int64_t row;
        bool write;
    };
    // Serves the bursts in the order in which they are asked for, the first at `start`, with no
    // column command before `not_before`: when the data bus is free of the last one.
    Cycle run(const std::vector<Burst>& bursts, Cycle start, Cycle not_before);

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

    template <class Work>
    bool in_turn(std::size_t begin, std::size_t end, Work work) const;
    Cycle earliest() const;
    bool move();
    bool issue(Cycle now, Served& served);
    Command next_command(std::size_t bank, Cycle now) const;
    void give_activate(std::size_t bank, std::int64_t row, Cycle now);
    void give_column(std::size_t bank, bool write, Cycle now);
    void refresh(Cycle now);

    DramPart part_;
    Cycle next_ = kNever;
    bool flushing_ = false;
    std::vector<Waiting> reads_, writes_;
    std::size_t draining_ = 0;
    std::vector<std::vector<Request>> queues_;  // by bank
    std::vector<std::uint64_t> occupied_;       // banks whose queue is not empty, a bit each
    std::size_t last_;                          // the bank of the last command
    std::vector<std::size_t> rank_, group_;     // of a bank

    // By bank: earliest cycle worth looking at it, open row (-1: none), column commands since its
    // activate, and the earliest cycles of the next commands; those by group and rank likewise.
    std::vector<Cycle> ready_;
    std::vector<std::int64_t> row_, hits_;
    std::vector<Cycle> activate_, precharge_, column_;
    std::vector<Cycle> group_activate_, group_read_, group_write_;
    std::vector<Cycle> rank_activate_, rank_read_, rank_write_;
    struct Window {
        Cycle at[4] = {-kNever, -kNever, -kNever, -kNever};  // the last four activates
    };
    std::vector<Window> window_;  // by rank
    Cycle refresh_at_;
    std::size_t refresh_rank_ = 0;
};

}  // namespace minisim
