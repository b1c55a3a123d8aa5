// Runs of bursts that channels of a part have served, for when they come again: see
// dram_repeats.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace minisim {

class ServedRuns {
public:
    using Numbers = std::vector<std::int32_t>;

    // What a run did to its channel that was described by the same numbers; nullptr: there was none.
    const Numbers* find(const Numbers& description) const;
    void add(const Numbers& description, const Numbers& outcome);
    std::size_t size() const { return runs_.size(); }

private:
    struct Run {
        Numbers description, outcome;
    };
    std::unordered_map<std::uint64_t, Run> runs_;  // by a hash of the description
    std::size_t numbers_ = 0;                      // in all runs
};

}  // namespace minisim
