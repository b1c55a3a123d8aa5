// All channels of a DRAM part, timed: the twin of `Memory` in hwmodel/banked.py, which defines it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "minisim/dram_channel.hpp"

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

private:
    struct Field {
        int shift = 0;
        std::uint64_t mask = 0;
        std::uint64_t of(std::uint64_t address) const { return (address >> shift) & mask; }
    };
    Field channel_, rank_, group_, bank_, row_;
    int rank_shift_, group_shift_;  // of the number of a bank
};

class DramMemory {
public:
    // Throws UsageError if a number cannot be that of a part.
    explicit DramMemory(const DramPart& part);

    struct Served {
        Cycle issued;    // the data bus is free of the last request, its latency not counted
        Cycle returned;  // the last one's data was back at the requester
    };

    // Serves `count` bursts in this order; see the definition for the arguments. If this or
    // transfer() throws, the memory is as it was.
    Served run(const std::int64_t* addresses, const bool* writes, std::size_t count, Cycle start,
               Cycle not_before, std::int64_t outstanding);

    // Serves the bursts under `rows` rows of `width` bytes, `pitch` apart; returns `Served.issued`.
    Cycle transfer(std::int64_t first, std::int64_t pitch, std::int64_t rows, std::int64_t width,
                   bool write, Cycle start, Cycle not_before);

private:
    struct Request {
        AddressMap::Place place;
        bool write;
    };

    void ask(std::uint64_t address, bool write) {
        requests_.push_back({map_.locate(address), write});
    }
    Served serve(Cycle start, Cycle not_before, std::int64_t outstanding);  // all requests_

    DramPart part_;
    AddressMap map_;
    std::vector<DramChannel> channels_;
    std::vector<Request> requests_;
    std::vector<Cycle> returns_;  // of the reads, in order
};

}  // namespace minisim
