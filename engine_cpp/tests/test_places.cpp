// The scheduler's allocator, and its candidates for eviction.

#include "minisim/places.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "check.hpp"
#include "minisim/candidates.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

Clock clock_of(std::uint32_t loads) { return {loads, 0, 0, 0}; }

// What is taken, as (address, loads to wait for); nothing: (-1, 0).
std::pair<std::int64_t, std::uint32_t> take(Places& places, std::uint64_t bytes, bool small = false) {
    const auto found = places.allocate(bytes, small);
    if (!found) return {-1, 0};
    return {static_cast<std::int64_t>(found->address), found->clock[0]};
}

void check_taken(Places& places, std::uint64_t bytes, std::int64_t address, std::uint32_t loads, bool small = false) {
    const auto found = take(places, bytes, small);
    CHECK_EQUAL(found.first, address);
    CHECK_EQUAL(found.second, loads);
}

// Of each 64 bytes: whether they are free, and which operations must retire before they are written.
struct Cells {
    std::uint64_t base;
    std::vector<bool> free;
    std::vector<Clock> clocks;

    Cells(std::size_t count, std::uint64_t base_) : base(base_), free(count, true), clocks(count) {}
    template <class Visit>
    void each(std::uint64_t address, std::uint64_t bytes, Visit visit) {
        for (std::uint64_t at = address; at < address + bytes; at += kAlignment) {
            visit((at - base) / kAlignment);
        }
    }
    std::uint64_t longest_run() const {
        std::uint64_t longest = 0, run = 0;
        for (const bool each : free) {
            run = each ? run + 1 : 0;
            longest = std::max(longest, run);
        }
        return longest * kAlignment;
    }
};

void compare_with_cells(unsigned seed) {
    std::mt19937 draw(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(draw() % n); };
    const std::uint64_t base = below(2) * 4096;
    const std::size_t counts[] = {1, 7, 64, 1024};
    const std::uint64_t all[] = {1, 2, 3, 16, 64};
    const std::size_t cells = counts[below(4)];
    Places places(cells * kAlignment, base);
    Cells known(cells, base);
    std::vector<std::uint64_t> sizes;
    for (std::uint32_t i = below(4) + 1; i > 0; --i) sizes.push_back(kAlignment * all[below(5)]);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> used;
    for (std::uint32_t moment = 1; moment < 600; ++moment) {
        if (!used.empty() && below(100) < 48) {
            std::swap(used[below(static_cast<std::uint32_t>(used.size()))], used.back());
            const auto [address, bytes] = used.back();
            used.pop_back();
            const Clock clock = {below(moment), below(moment), below(moment), below(moment)};
            places.free(address, bytes, clock);
            known.each(address, bytes, [&](std::size_t cell) {
                CHECK(!known.free[cell]);
                known.free[cell] = true;
                known.clocks[cell] = clock;
            });
        } else {
            const std::uint64_t bytes = sizes[below(static_cast<std::uint32_t>(sizes.size()))];
            const auto found = places.allocate(bytes, below(10) < 3);
            CHECK_EQUAL(found.has_value(), known.longest_run() >= bytes);
            if (!found) continue;
            known.each(found->address, bytes, [&](std::size_t cell) {
                CHECK(known.free[cell]);
                known.free[cell] = false;
                for (std::size_t q = 0; q < kQueues; ++q) CHECK(found->clock[q] >= known.clocks[cell][q]);
            });
            used.emplace_back(found->address, bytes);
        }
        const auto free = static_cast<std::uint64_t>(std::count(known.free.begin(), known.free.end(), true));
        CHECK_EQUAL(places.free_bytes(), free * kAlignment);
    }
    for (const auto& [address, bytes] : used) places.free(address, bytes, {1, 2, 3, 4});
    places.merge();
    CHECK(places.allocate(cells * kAlignment).has_value());
}

}  // namespace

TEST(places_are_disjoint_and_their_clocks_name_all_who_used_them) {
    for (unsigned seed = 0; seed < 60; ++seed) compare_with_cells(seed);
}

TEST(tiles_of_one_size_take_turns_in_the_longest_free_place) {
    Places places(256);
    for (std::int64_t i = 0; i < 4; ++i) check_taken(places, 64, 64 * i, 0);
    const std::uint64_t order[] = {128, 0, 192, 64};
    for (std::uint32_t i = 0; i < 4; ++i) places.free(order[i], 64, clock_of(i + 1));
    for (std::uint32_t i = 0; i < 4; ++i) check_taken(places, 64, static_cast<std::int64_t>(order[i]), i + 1);
}

TEST(memory_never_used_comes_before_a_place_of_ones_own_size) {  // so loads run ahead as far as there is memory
    Places places(256);
    check_taken(places, 64, 0, 0);
    places.free(0, 64, clock_of(1));
    check_taken(places, 64, 64, 0);
}

TEST(small_tiles_take_the_upper_end_of_memory_never_used) {
    Places places(1024);
    check_taken(places, 64, 960, 0, true);
    check_taken(places, 512, 0, 0);
    check_taken(places, 64, 896, 0, true);
}

TEST(a_small_tile_does_not_break_up_the_place_of_a_large_one) {  // though that has been free for longer
    Places places(576);
    check_taken(places, 512, 0, 0);
    check_taken(places, 64, 512, 0);
    places.free(0, 512, clock_of(1));
    places.free(512, 64, clock_of(2));
    check_taken(places, 64, 512, 2);
    places.free(512, 64, clock_of(3));
    check_taken(places, 64, 512, 3);
    check_taken(places, 64, 0, 1);  // there is no other
    check_taken(places, 448, 64, 1);
}

TEST(a_size_that_is_needed_gets_the_places_that_nobody_needs_any_more) {
    // else all tiles of that size follow each other in one place, and each waits for the one before it
    Places places(1024);
    for (const std::uint64_t bytes : {512, 256, 256}) CHECK(places.allocate(bytes).has_value());
    places.free(512, 256, clock_of(1));
    places.free(768, 256, clock_of(2));
    std::pair<std::int64_t, std::uint32_t> last;
    std::uint32_t count = 3;
    for (; count < 13 && last.first != 512; ++count) {
        places.free(0, 512, clock_of(count));
        last = take(places, 512);
    }
    CHECK_EQUAL(count, 6u);  // free for more than twice as long as the other, after the third time
    CHECK_EQUAL(last.first, 512);  // the run of both, and its clock names both
    CHECK_EQUAL(last.second, 2u);
}

TEST(what_is_left_of_a_place_keeps_its_age_and_its_clock) {
    Places places(512);
    check_taken(places, 512, 0, 0);
    places.free(0, 512, clock_of(7));
    check_taken(places, 128, 0, 7);
    check_taken(places, 384, 128, 7);
    check_taken(places, 64, -1, 0);
}

TEST(what_is_left_of_a_place_is_still_the_oldest) {
    Places places(1024);
    for (const std::uint64_t bytes : {512, 256, 256}) CHECK(places.allocate(bytes).has_value());
    places.free(0, 512, clock_of(1));
    places.free(512, 256, clock_of(2));
    places.free(768, 256, clock_of(3));
    check_taken(places, 128, 0, 1);
    check_taken(places, 64, 128, 1);
}

TEST(what_is_left_of_several_places_waits_for_the_last_one_alone) {
    Places places(512);
    for (int i = 0; i < 2; ++i) CHECK(places.allocate(256).has_value());
    places.free(0, 256, clock_of(5));
    places.free(256, 256, clock_of(3));
    check_taken(places, 384, 0, 5);
    check_taken(places, 128, 384, 3);
}

TEST(of_32_places_the_one_that_fits_is_found_by_its_age) {
    const auto taken = [](std::uint32_t short_ones) {
        Places places(64 * 400);
        for (int i = 0; i < 400; ++i) CHECK(places.allocate(64).has_value());
        for (std::uint64_t i = 0; i < short_ones; ++i) places.free(64 * 2 * i, 64, clock_of(1));
        for (const std::uint64_t at : {200, 201, 202}) places.free(64 * at, 64, clock_of(2));  // a run of three
        for (const std::uint64_t at : {300, 301}) places.free(64 * at, 64, clock_of(3));  // the shortest that fits
        return take(places, 128).first;
    };
    CHECK_EQUAL(taken(31), 64 * 200);
    CHECK_EQUAL(taken(32), 64 * 300);
}

TEST(steps_do_not_grow_with_the_number_of_places) {
    double looked_at[2];
    const std::uint32_t counts[] = {100, 10'000};
    for (int k = 0; k < 2; ++k) {
        Places places(std::uint64_t{counts[k]} * 256);
        std::vector<std::uint64_t> taken;
        const std::uint64_t sizes[] = {64, 128, 64};
        for (std::uint32_t i = 0; i < 3 * counts[k]; ++i) taken.push_back(places.allocate(sizes[i % 3])->address);
        for (std::uint32_t i = 0; i < taken.size(); ++i) {
            if (i % 3 != 2) places.free(taken[i], sizes[i % 3], clock_of(i));
        }
        const std::uint64_t before = places.windows();
        for (std::uint32_t i = 0; i < counts[k] / 4; ++i) CHECK(places.allocate(192).has_value());
        looked_at[k] = static_cast<double>(places.windows() - before) / (counts[k] / 4);
    }
    CHECK(looked_at[0] > 0);
    CHECK(looked_at[1] <= 1.1 * looked_at[0] + 1);
}

TEST(a_run_of_just_the_size_is_found_behind_any_number_of_short_ones) {
    Places places(64 * 202);
    for (int i = 0; i < 200; ++i) CHECK(places.allocate(64).has_value());
    check_taken(places, 128, 64 * 200, 0);
    for (std::uint64_t i = 0; i < 100; i += 2) places.free(64 * i, 64, clock_of(1));  // all free for longer
    places.free(64 * 200, 128, clock_of(2));
    CHECK(places.allocate(64).has_value());
    for (std::uint32_t i = 101; i < 104; ++i) places.free(64 * i, 64, clock_of(i - 98));
    check_taken(places, 192, 64 * 101, 5);
}

TEST(memory_that_was_used_is_not_as_new_when_it_is_one_place_again) {
    Places places(256);
    check_taken(places, 256, 0, 0);
    places.free(0, 256, clock_of(3));
    places.merge();
    check_taken(places, 64, 0, 3, true);  // else it would take the upper end
    Places unused(256);
    check_taken(unused, 256, 0, 0);
    unused.free(0, 256, Clock{});  // by nobody
    unused.merge();
    check_taken(unused, 64, 192, 0, true);
}

TEST(what_was_not_taken_is_not_given_back) {
    Places places(256, 1024);
    CHECK_THROWS(places.free(1024, 64, Clock{}), ScheduleError, "what it has not taken");
    CHECK(places.allocate(128).has_value());
    CHECK_THROWS(places.free(960, 64, Clock{}), ScheduleError, "what it has not taken");
    CHECK_THROWS(places.free(1088, 128, Clock{}), ScheduleError, "what it has not taken");
    CHECK_THROWS(places.free(1216, 128, Clock{}), ScheduleError, "what it has not taken");
    CHECK_THROWS(places.merge(), ScheduleError, "in use");
    places.free(1024, 128, Clock{});
    CHECK_EQUAL(places.used_bytes(), 0u);
}

TEST(the_candidate_whose_next_use_is_farthest_is_the_first) {
    std::mt19937 draw(1);
    Candidates::At at(50, kNone);
    Candidates candidates(at), other(at);
    other.add(49, 1);
    std::vector<std::uint32_t> far(49, kNone);  // kNone: not in
    for (int i = 0; i < 5000; ++i) {
        const auto copy = static_cast<std::uint32_t>(draw() % far.size());
        candidates.remove(copy);
        far[copy] = kNone;
        if (draw() % 3) candidates.add(copy, far[copy] = static_cast<std::uint32_t>(draw() % 20));
        std::uint32_t best = kNone;
        for (std::uint32_t j = 0; j < far.size(); ++j) {
            if (far[j] != kNone && (best == kNone || far[j] > far[best])) best = j;
        }
        CHECK_EQUAL(candidates.empty(), best == kNone);
        if (best == kNone) continue;
        CHECK_EQUAL(candidates.first(), best);
        CHECK_EQUAL(candidates.distance(), far[best]);
    }
    CHECK_EQUAL(other.first(), 49u);
}
