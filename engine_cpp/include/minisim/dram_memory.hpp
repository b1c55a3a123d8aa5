// All channels of a DRAM part, timed: the twin of `Memory` in hwmodel/banked.py, which defines it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "minisim/dram_channel.hpp"
#include "minisim/served_runs.hpp"

namespace minisim {

// Which channel, bank and row a byte address lies in. Every size is a power of two.
class AddressMap {
public:
    explicit AddressMap(const DramPart& part);

    struct Place {
        std::size_t channel, bank;  // a bank of all the channel's ranks and groups
        std::int64_t row;
    };
    Place locate(std::uint64_t address) const;
    // So many bursts from an address on, itself counted, lie in the same place, at least.
    std::int64_t alike(std::uint64_t address) const {
        return static_cast<std::int64_t>(column_.mask - column_.of(address)) + 1;
    }

private:
    struct Field {
        int shift = 0;
        std::uint64_t mask = 0;
        std::uint64_t of(std::uint64_t address) const { return (address >> shift) & mask; }
    };
    Field channel_, rank_, group_, bank_, row_;
    Field column_;                  // if neighbouring bursts differ in nothing else
    int rank_shift_, group_shift_;  // of the number of a bank
};

class DramMemory {
public:
    // `dram` cycles of its clock take as long as `core` cycles of the core's, in which transfers are
    // told. Throws UsageError if a number cannot be that of a part.
    explicit DramMemory(const DramPart& part, std::int64_t dram = 1, std::int64_t core = 1);

    struct Served {
        Cycle issued;    // the data bus is free of the last request, its latency not counted
        Cycle returned;  // the last one's data was back at the requester
    };

    // How a transfer's bursts were served, in core cycles: see the definition.
    struct Turn {
        Cycle begin, turn, end;
    };

    // Serves `count` bursts in this order; see the definition for the arguments. If this, transfer()
    // or lines() throws a UsageError, the memory is as it was.
    Served run(const std::int64_t* addresses, const bool* writes, std::size_t count, Cycle start,
               Cycle not_before, std::int64_t outstanding);

    // Serves the bursts under `rows` rows of `width` bytes, `pitch` apart, asked for at `now`, and
    // known since `since`.
    Turn transfer(std::int64_t first, std::int64_t pitch, std::int64_t rows, std::int64_t width,
                  bool write, Cycle now, Cycle since);

    // Serves lines of `size` bytes: reads the first `reads` of them, writes the others.
    Turn lines(const std::int64_t* addresses, std::size_t reads, std::size_t count,
               std::int64_t size, Cycle now, Cycle since);

private:
    struct Request {
        AddressMap::Place place;
        bool write;
    };

    void ask(std::uint64_t address, bool write) {
        requests_.push_back({map_.locate(address), write});
    }
    void ask_channel(std::uint64_t address, bool write, std::size_t bursts);
    void ask_row(std::int64_t begin, std::int64_t width, bool write, std::int64_t& last);
    void clear_shares();
    Turn serve_shares(Cycle now, Cycle since);  // all of shares_
    Cycle in_dram(Cycle cycle) const;

    DramPart part_;
    AddressMap map_;
    std::int64_t dram_, core_;
    Cycle lead_;
    int burst_shift_;  // of addresses
    std::vector<DramChannel> channels_;
    std::vector<Cycle> free_;                              // by channel, in core cycles
    std::vector<std::vector<DramChannel::Train>> shares_;  // of a transfer, by channel
    ServedRuns served_;
    std::vector<Request> requests_;
    std::vector<Cycle> returns_;  // of the reads, in order
};

}  // namespace minisim
