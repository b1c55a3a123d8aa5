// The address allocator of an on-chip memory: the scratchpad, or the accumulator memory behind it.
//
// Free memory is kept as *places*: an interval that was given back as a whole, with the moment since which it has been
// free and the operations that must have retired before it is written (its clock). Adjacent places make a *run*.
//
// Who takes a place waits for its last user, so an allocation wants the place that has been free longest: that alone
// makes loads run ahead of compute, and double buffering is the special case of it that has two places. But tiles come
// in several sizes, and a small tile in a large one's place leaves a hole that fits neither. So an allocation takes
//
// 1. memory that nobody has used yet: small tiles from its upper end, others from its lower one, so that neither cuts
//    up what the other will need;
// 2. else the place of a tile of its own size, the longest free one;
// 3. but if another place, or a run of them, has been free for `kMuchLonger` times as long, then that: a size that many
//    tiles need gets more places, out of those that nobody needs any more;
// 4. else the shortest run that is long enough.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "minisim/isa.hpp"

namespace minisim {

// How many operations of each queue must have retired.
using Clock = std::array<std::uint32_t, kQueues>;

inline void wait_for(Clock& clock, const Clock& other) {
    for (std::size_t q = 0; q < kQueues; ++q) {
        if (clock[q] < other[q]) clock[q] = other[q];
    }
}

// Which bytes are free, since when, and which operations must have retired before they are written.
// Invariants: places are disjoint; each is in the list of all, and in that of its size, both from the longest free
// one to the newest; the runs are the unions of adjacent places, with a gap between any two.
// Both calls take O(log n) steps for n places, and O(log n) for each place that an allocation uses up.
class Places {
public:
    // How many times as long a place of another size must have been free. With less, two sizes would take each other's
    // places in turns; more leaves a size too few of them. From 1 to 4 the cycles of 300 random networks differ by
    // 0.2 % on average.
    static constexpr std::uint64_t kMuchLonger = 2;
    // Places that are looked at, longest free first, for one that has been free much longer.
    static constexpr int kLook = 32;

    struct Taken {
        std::uint64_t address;
        Clock clock;  // to wait for before writing
    };

    // All sizes and addresses are multiples of kAlignment; `base`: the address of the first byte.
    explicit Places(std::uint64_t bytes, std::uint64_t base = 0);
    Places(const Places&) = delete;  // its lists point into it
    Places& operator=(const Places&) = delete;

    std::uint64_t bytes() const { return bytes_; }
    std::uint64_t free_bytes() const { return free_bytes_; }
    std::uint64_t used_bytes() const { return bytes_ - free_bytes_; }
    std::uint64_t windows() const { return windows_; }  // looked at so far: a measure of the work

    // Takes `bytes` bytes; nothing if no run is long enough. `small`: most of the memory is for much larger tiles.
    std::optional<Taken> allocate(std::uint64_t bytes, bool small = false);

    // Gives bytes back; `clock` counts every operation that accessed them. Throws ScheduleError if they are not within
    // the memory, or some are free already.
    void free(std::uint64_t address, std::uint64_t bytes, const Clock& clock);

    // Everything is free: makes it one place again, with the clocks of all. Throws ScheduleError if something is used.
    void merge();

private:
    struct Place;
    struct Link {
        Place* before = nullptr;
        Place* behind = nullptr;
    };
    struct Place {
        std::uint64_t address, bytes;
        Clock clock;
        std::uint64_t since;  // which call of `free` gave it back; 0: never used
        Link age, same;
    };
    // Places in a row, through one of their links.
    template <Link Place::*link>
    struct List {
        Place* first = nullptr;
        Place* last = nullptr;
        void push_front(Place& place);
        void push_back(Place& place);
        void erase(Place& place);
    };
    using ByAddress = std::map<std::uint64_t, Place>;
    using Runs = std::map<std::uint64_t, std::uint64_t>;  // bytes by address

    enum class Age { kNewest, kLongestFree };

    Place* choose(std::uint64_t bytes);
    std::pair<Place*, std::uint64_t> window(Place& place, std::uint64_t bytes);
    Taken take(Place& first, std::uint64_t bytes, bool small);
    void give(std::uint64_t address, std::uint64_t bytes, const Clock& clock, std::uint64_t since, Age age);
    Place remove(Place& place);
    Runs::iterator run_of(std::uint64_t address);
    void add_run(std::uint64_t address, std::uint64_t bytes);
    void drop_run(Runs::iterator run);

    std::uint64_t bytes_, base_;
    std::uint64_t free_bytes_ = 0;
    std::uint64_t now_ = 0;  // calls of `free`
    std::uint64_t windows_ = 0;
    ByAddress places_;
    List<&Place::age> all_;
    std::map<std::uint64_t, List<&Place::same>> of_size_;
    Runs runs_;
    std::set<std::pair<std::uint64_t, std::uint64_t>> by_bytes_;  // bytes and address of all runs
};

}  // namespace minisim
