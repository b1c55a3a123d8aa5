// Long work asks now and then whether anybody wants it to stop.
//
// The core knows nobody who could: whoever embeds it registers a function, which is called at most
// every `kEvery`, on the thread that works, and stops the work by throwing. The engine is then
// stopped, as after any other error.
#pragma once

#include <chrono>
#include <cstdint>

namespace minisim {

// nullptr: nobody asks. For all threads.
void set_interruption(void (*function)());

namespace interruption {
constexpr std::chrono::milliseconds kEvery{50};
constexpr std::int64_t kPatience = 1'000'000;  // multiply-adds: far below a millisecond, or a few of the slowest kernel

inline thread_local std::int64_t patience = 0;
void look_at_the_clock();
}  // namespace interruption

// To be called in every loop that may take long. `work`: multiply-adds, about, since the call before.
inline void interruptible(std::uint64_t work) {
    interruption::patience -= static_cast<std::int64_t>(work);
    if (interruption::patience < 0) interruption::look_at_the_clock();
}

}  // namespace minisim
