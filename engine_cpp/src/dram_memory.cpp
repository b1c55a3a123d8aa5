#include "minisim/dram_memory.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "minisim/errors.hpp"

namespace minisim {
namespace {

constexpr std::int64_t kMostBanks = std::int64_t{1} << 20;
constexpr std::int64_t kEnd = std::int64_t{1} << 62;  // of addresses: no sum of them overflows

__extension__ using Wide = __int128;  // cycles x the clocks' ratio

Cycle ceil_ratio(Cycle cycles, std::int64_t by, std::int64_t of) {
    return static_cast<Cycle>((Wide{cycles} * by + of - 1) / of);
}

int log2_of(std::int64_t power) {
    int log = 0;
    while (std::int64_t{1} << log < power) ++log;
    return log;
}

// What the loops rely on; hwmodel's DramPart, where users' mistakes are found, is stricter.
const DramPart& checked(const DramPart& part) {
    const auto require = [](bool holds, const char* name, const char* rule) {
        if (!holds) throw UsageError(std::string(name) + " must be " + rule);
    };
#define MINISIM_CHECK_NUMBER(name)                                                                 \
    require(part.name >= 0 && part.name <= std::int64_t{1} << 20, #name, "0 to 2^20");
    MINISIM_DRAM_NUMBERS(MINISIM_CHECK_NUMBER)
#undef MINISIM_CHECK_NUMBER
    const std::pair<const char*, std::int64_t> powers[] = {
        {"channels", part.channels}, {"ranks", part.ranks}, {"groups", part.groups},
        {"banks", part.banks},       {"rows", part.rows},   {"page_bursts", part.page_bursts},
        {"burst_bytes", part.burst_bytes}};
    for (const auto& [name, value] : powers) {
        require(value > 0 && (value & (value - 1)) == 0, name, "a power of two");
    }
    std::int64_t banks = 1;  // of the whole memory
    for (const std::int64_t count : {part.channels, part.ranks, part.groups, part.banks}) {
        require(count <= kMostBanks / banks, "channels x ranks x groups x banks", "at most 2^20");
        banks *= count;
    }
    const std::pair<const char*, std::int64_t> counts[] = {{"queue", part.queue},
                                                           {"write_batch", part.write_batch},
                                                           {"bank_queue", part.bank_queue},
                                                           {"commands", part.commands},
                                                           {"burst_cycles", part.burst_cycles}};
    for (const auto& [name, value] : counts) require(value > 0, name, "at least 1");
    const std::int64_t rest = part.tRFC + part.tRAS + part.tRP + part.tRCD + part.tFAW;
    require(part.tREFI >= 2 * part.ranks * std::max(rest, std::int64_t{1}), "tREFI",
            "2 x ranks x (tRFC + tRAS + tRP + tRCD + tFAW), or more");
    return part;
}

}  // namespace

AddressMap::AddressMap(const DramPart& part)
    : rank_shift_(log2_of(part.groups * part.banks)), group_shift_(log2_of(part.banks)) {
    struct Named {
        const char* name;
        Field& field;
        std::int64_t size;
        bool placed;
    };
    Field column;
    Named fields[] = {{"ro", row_, part.rows, false},   {"ch", channel_, part.channels, false},
                      {"ra", rank_, part.ranks, false}, {"bg", group_, part.groups, false},
                      {"ba", bank_, part.banks, false}, {"co", column, part.page_bursts, false}};
    int shift = log2_of(part.burst_bytes);
    for (std::size_t end = part.mapping.size(); end >= 2; end -= 2) {
        for (Named& each : fields) {
            if (part.mapping.compare(end - 2, 2, each.name) != 0) continue;
            each.field = {shift, static_cast<std::uint64_t>(each.size) - 1};
            each.placed = true;
            shift += log2_of(each.size);
        }
    }
    const bool all = std::all_of(std::begin(fields), std::end(fields),
                                 [](const Named& each) { return each.placed; });
    if (!all || part.mapping.size() != 12) {
        throw UsageError("mapping must name ro, ch, ra, ba, bg and co once each, not '" +
                         part.mapping + "'");
    }
    if (column.shift == log2_of(part.burst_bytes)) column_ = column;
}

AddressMap::Place AddressMap::locate(std::uint64_t address) const {
    const std::uint64_t bank = rank_.of(address) << rank_shift_ |
                               group_.of(address) << group_shift_ | bank_.of(address);
    return {static_cast<std::size_t>(channel_.of(address)), static_cast<std::size_t>(bank),
            static_cast<std::int64_t>(row_.of(address))};
}

DramMemory::DramMemory(const DramPart& part, std::int64_t dram, std::int64_t core)
    : part_(checked(part)),
      map_(part),
      dram_(dram),
      core_(core),
      lead_(part.queue * part.burst_cycles),
      burst_shift_(log2_of(part.burst_bytes)),
      free_(static_cast<std::size_t>(part.channels), 0),
      shares_(static_cast<std::size_t>(part.channels)) {
    if (dram < 1 || core < 1) throw UsageError("a clock has at least one cycle");
    channels_.reserve(static_cast<std::size_t>(part.channels));
    for (std::int64_t i = 0; i < part.channels; ++i) channels_.emplace_back(part);
}

DramMemory::Served DramMemory::run(const std::int64_t* addresses, const bool* writes,
                                   std::size_t count, Cycle start, Cycle not_before,
                                   std::int64_t outstanding) {
    if (outstanding < 1) throw UsageError("outstanding must be at least 1");
    requests_.clear();
    for (std::size_t i = 0; i < count; ++i) {
        ask(static_cast<std::uint64_t>(addresses[i]), writes[i]);
    }

    const Cycle back = part_.CL + part_.burst_cycles + 1;  // column command to the requester
    std::size_t seen = 0;  // of returns_, those that the requester has seen
    returns_.clear();
    returns_.reserve(count);  // the last that asks for memory: from here on nothing can fail
    for (DramChannel& channel : channels_) {
        channel.more_requests();
        channel.hold_columns(not_before);
    }
    std::size_t asked = 0, unserved = count;
    std::int64_t under_way = 0;
    Cycle now = start, last = start, returned = start;
    while (unserved) {
        while (seen < returns_.size() && returns_[seen] <= now) {
            ++seen;
            --under_way;
        }
        std::int64_t accepted = 0;  // writes, which are through now
        for (; asked < count && under_way + accepted < outstanding; ++asked) {
            const auto& [place, write] = requests_[asked];
            DramChannel& channel = channels_[place.channel];
            if (!channel.accepts(write)) break;
            channel.push(place.bank, place.row, write, now);
            under_way += !write;
            accepted += write;
        }
        Cycle upcoming = accepted ? now + 1 : kNever;
        for (DramChannel& channel : channels_) {
            if (asked == count) channel.no_more_requests(now);
            if (channel.next() <= now) {
                const DramChannel::Served served = channel.tick(now);
                unserved -= static_cast<std::size_t>(served.reads + served.writes);
                if (served.reads + served.writes) last = now;
                if (served.reads) returned = now + back;
                returns_.insert(returns_.end(), static_cast<std::size_t>(served.reads), now + back);
            }
            upcoming = std::min(upcoming, channel.next());
        }
        if (seen < returns_.size() && asked < count && under_way >= outstanding) {
            upcoming = std::min(upcoming, returns_[seen]);
        }
        now = std::max(now + 1, upcoming);
    }
    return {last + part_.burst_cycles, std::max(returned, last + 1)};
}

// -- transfers ------------------------------------------------------------------------------------

void DramMemory::clear_shares() {
    for (auto& share : shares_) share.clear();
}

void DramMemory::ask_channel(std::uint64_t address, bool write, std::size_t bursts) {
    const AddressMap::Place place = map_.locate(address);
    std::vector<DramChannel::Train>& share = shares_[place.channel];
    if (!share.empty() && share.back().continues(place.bank, place.row, write)) {
        share.back().bursts += bursts;
    } else {
        share.push_back({place.bank, place.row, write, bursts});
    }
}

// Asks for the bursts under a row; `last` is the number of the burst before: one that two rows share
// counts once.
void DramMemory::ask_row(std::int64_t begin, std::int64_t width, bool write, std::int64_t& last) {
    const std::int64_t end = ((begin + width - 1) >> burst_shift_) + 1;
    std::int64_t burst = begin >> burst_shift_;
    if (burst == last) ++burst;
    while (burst < end) {
        const std::uint64_t address = static_cast<std::uint64_t>(burst) << burst_shift_;
        const std::int64_t alike = std::min(map_.alike(address), end - burst);
        ask_channel(address, write, static_cast<std::size_t>(alike));
        burst += alike;
    }
    last = end - 1;
}

DramMemory::Turn DramMemory::transfer(std::int64_t first, std::int64_t pitch, std::int64_t rows,
                                      std::int64_t width, bool write, Cycle now, Cycle since) {
    if (first < 0 || pitch < 0 || rows < 1 || width < 1) {
        throw UsageError("a transfer must have an address, a pitch, rows and a width");
    }
    const bool fits = first <= kEnd && width <= kEnd - first &&
                      (pitch == 0 || rows - 1 <= (kEnd - first - width) / pitch);
    if (!fits) throw UsageError("a transfer must end at or below address 2^62");
    clear_shares();
    std::int64_t last = -1;
    for (std::int64_t row = 0; row < rows; ++row) ask_row(first + row * pitch, width, write, last);
    return serve_shares(now, since);
}

DramMemory::Turn DramMemory::lines(const std::int64_t* addresses, std::size_t reads,
                                   std::size_t count, std::int64_t size, Cycle now, Cycle since) {
    if (count == 0 || size < 1) throw UsageError("there must be lines, of at least one byte");
    for (std::size_t i = 0; i < count; ++i) {
        if (addresses[i] < 0 || addresses[i] > kEnd - size) {
            throw UsageError("a line must end at or below address 2^62");
        }
    }
    clear_shares();
    for (std::size_t i = 0; i < count; ++i) {
        std::int64_t last = -1;
        ask_row(addresses[i], size, i >= reads, last);
    }
    return serve_shares(now, since);
}

DramMemory::Turn DramMemory::serve_shares(Cycle now, Cycle since) {
    const Cycle earliest = in_dram(since);
    Turn found{std::numeric_limits<Cycle>::max(), 0, -1};
    for (std::size_t number = 0; number < channels_.size(); ++number) {
        if (shares_[number].empty()) continue;
        const Cycle turn = std::max(now, free_[number]), columns = in_dram(turn);
        const Cycle issued = channels_[number].run(
            shares_[number], std::max(earliest, columns - lead_), columns, served_);
        free_[number] = ceil_ratio(issued, core_, dram_);
        found.begin = std::min(found.begin, turn);
        if (free_[number] > found.end) {
            found.end = free_[number];
            found.turn = turn;
        }
    }
    return found;
}

Cycle DramMemory::in_dram(Cycle cycle) const { return ceil_ratio(cycle, dram_, core_); }

}  // namespace minisim
