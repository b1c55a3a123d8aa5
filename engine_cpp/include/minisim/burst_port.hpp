// A channel's port under bursts: the twin of hwmodel/port.py, which defines it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace minisim {

using Cycle = std::int64_t;

// The numbers of hwmodel/bursts.py's BurstRules that a port needs, by name.
#define MINISIM_BURST_NUMBERS(NUMBER)                                                              \
    NUMBER(width)                                                                                  \
    NUMBER(max_beats)                                                                              \
    NUMBER(boundary)                                                                               \
    NUMBER(outstanding)                                                                            \
    NUMBER(request_cycles)                                                                         \
    NUMBER(beat_cycles)                                                                            \
    NUMBER(unpack_cycles)                                                                          \
    NUMBER(burst_gap)                                                                              \
    NUMBER(realign)                                                                                \
    NUMBER(gap)                                                                                    \
    NUMBER(row_decode)                                                                             \
    NUMBER(row_gap)

struct BurstRules {
#define MINISIM_DECLARE_NUMBER(name) std::int64_t name = 0;
    MINISIM_BURST_NUMBERS(MINISIM_DECLARE_NUMBER)
#undef MINISIM_DECLARE_NUMBER

    std::int64_t period() const;  // bytes: addresses that differ by a multiple of it are cut alike
    BurstRules unpacking() const;  // of packed weights, which pass the unpacker on their way
};

// A rectangle of memory: rows of so many bytes, `pitch` bytes apart.
struct Rectangle {
    std::int64_t address, row_bytes, rows, pitch;
};

struct Cut {
    struct Burst {
        Cycle passing;      // of its beats
        std::int64_t size;  // bytes
        Cycle rest;         // of the port, after it
        Cycle later;        // after the first descriptor's decoding its own is decoded
    };
    std::vector<Burst> bursts;
    Cycle through = 0;      // that the port is held if nothing else is in the way
    std::int64_t size = 0;  // bytes of all
    Cycle rest = 0;         // of the port at the end, counted by the last burst
};

Cut cut(Rectangle of, const BurstRules& rules);

// What the two directions of a channel share, if they do.
struct Bus {
    explicit Bus(const BurstRules& rules)
        : asked(-rules.request_cycles),
          answered(static_cast<std::size_t>(rules.outstanding), Cycle{0}) {}

    Cycle asked;                  // when the last request went out
    Cycle free = 0;               // when the data bus has passed all that was asked for, and rested
    std::vector<Cycle> answered;  // when each slot is free: a ring
    std::size_t oldest = 0;
};

struct BurstPort {
    BurstRules rules;

    // When the first request of the next transfer goes out, if its descriptor is decoded at `due`.
    Cycle first_request(const Bus& bus, Cycle due) const;

    // Moves the next transfer, which the memory serves in [begin, end), a burst's slot being free
    // `latency` after its data: when its data pass.
    std::pair<Cycle, Cycle> move(Bus& bus, const Cut& cut, Cycle due, Cycle begin, Cycle end,
                                 Cycle latency) const;

private:
    Cycle burst_by_burst(Bus& bus, const Cut& cut, Cycle due, Cycle begin, Cycle cycles,
                         Cycle latency) const;
};

}  // namespace minisim
