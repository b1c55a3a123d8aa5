// A listener in a thread of its own: all steps in order, what it throws, and that nothing waits for ever.

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.hpp"
#include "minisim/alongside.hpp"

using namespace minisim;

namespace {

// Notes what it is told, and throws when it is told of a step that it does not like.
struct Notes : StepListener {
    std::vector<std::uint32_t> events;
    std::vector<Cycle> cycles;
    std::thread::id thread;
    std::int64_t refuses = -1;
    std::chrono::milliseconds takes{0};

    void steps(const std::uint32_t* given, const Cycle* when, std::size_t count) override {
        thread = std::this_thread::get_id();
        std::this_thread::sleep_for(takes);
        for (std::size_t i = 0; i < count; ++i) {
            if (given[i] == refuses) throw std::runtime_error("refused");
            events.push_back(given[i]);
            cycles.push_back(when[i]);
        }
    }
};

// Tells of the steps 0, 1, 2, ... in batches; step i is at cycle 3 i.
void tell(StepListener& listener, std::uint32_t batches, std::uint32_t size) {
    std::vector<std::uint32_t> events(size);
    std::vector<Cycle> cycles(size);
    for (std::uint32_t batch = 0; batch < batches; ++batch) {
        for (std::uint32_t i = 0; i < size; ++i) {
            events[i] = batch * size + i;
            cycles[i] = 3 * Cycle{events[i]};
        }
        listener.steps(events.data(), cycles.data(), size);
    }
}

bool in_order(const Notes& notes, std::size_t size) {
    bool found = notes.events.size() == size;
    for (std::size_t i = 0; found && i < size; ++i) {
        found = notes.events[i] == i && notes.cycles[i] == 3 * static_cast<Cycle>(i);
    }
    return found;
}

constexpr std::uint32_t kMany = Alongside::kWorthAThread;

}  // namespace

TEST(all_steps_are_told_in_order_in_another_thread) {
    for (const std::uint32_t batches : {1u, 3u, 100u}) {
        Notes notes;
        Alongside alongside(notes);
        tell(alongside, batches, kMany);
        alongside.finish();
        CHECK(in_order(notes, std::size_t{batches} * kMany));
        CHECK(notes.thread != std::this_thread::get_id());
    }
}

TEST(few_steps_are_told_at_once) {
    Notes notes;
    Alongside alongside(notes);
    tell(alongside, 5, kMany - 1);
    CHECK(in_order(notes, 5 * (kMany - 1)));
    CHECK(notes.thread == std::this_thread::get_id());
    alongside.finish();
}

TEST(a_listener_that_is_slow_is_waited_for) {
    Notes notes;
    notes.takes = std::chrono::milliseconds(1);
    Alongside alongside(notes);
    tell(alongside, 12, kMany);
    alongside.finish();
    CHECK(in_order(notes, 12 * kMany));
}

TEST(what_it_throws_is_thrown_at_the_next_call_and_it_is_told_no_more) {
    for (const std::uint32_t step : {0u, kMany - 1, 20 * kMany + 7}) {
        Notes notes;
        notes.refuses = step;
        Alongside alongside(notes);
        CHECK_THROWS((tell(alongside, 40, kMany), alongside.finish()), std::runtime_error, "refused");
        CHECK(in_order(notes, step));
        CHECK_THROWS(alongside.finish(), std::runtime_error, "refused");
        CHECK(in_order(notes, step));
    }
}

TEST(whoever_leaves_does_not_wait_for_what_has_not_begun) {
    Notes notes;
    notes.takes = std::chrono::milliseconds(5);
    {
        Alongside alongside(notes);
        tell(alongside, 8, kMany);  // 8 x 2,048 steps, 256 at once: 320 ms of work
    }
    CHECK(notes.events.size() < 8 * kMany);
    CHECK(in_order(notes, notes.events.size()));
}
